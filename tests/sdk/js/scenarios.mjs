// One promise, kept towards an unmodified Centrifuge SDK: node scenarios.mjs <scenario> <ws-url> [sdk]
//
// `sdk` is the package to test: centrifuge (default) or centrifuge-571. Exit code 0 if the promise was kept. A line
// such as KILL on stdout asks the driver to do that to the node; the scenario goes on when DONE comes on stdin.

import * as chat from './scenarios/chat.mjs';
import * as errors from './scenarios/errors.mjs';
import * as history from './scenarios/history.mjs';
import * as network from './scenarios/network.mjs';
import * as node from './scenarios/node.mjs';
import * as presence from './scenarios/presence.mjs';
import * as slow from './scenarios/slow.mjs';
import { Stage } from './stage.mjs';

// 5.7.1 mixes up publications that come right behind a reply unless every frame is an event of its own, as in browsers.
const sdks = { centrifuge: {}, 'centrifuge-571': { allowSynchronousEvents: false } };
const scenarios = { ...chat, ...errors, ...history, ...network, ...node, ...presence, ...slow };
const [name, url, sdk = 'centrifuge'] = process.argv.slice(2);
const scenario = Object.hasOwn(scenarios, name ?? '') && scenarios[name];
if (!scenario || !url || !Object.hasOwn(sdks, sdk)) {
  console.error(`usage: node scenarios.mjs <scenario> <ws-url> [sdk]\nscenarios: ${Object.keys(scenarios).join(' ')}`);
  process.exit(2);
}

// An SDK that throws where nobody can catch it breaks the application: that fails the scenario.
const { Centrifuge } = await import(sdk);
const stage = new Stage(url, Centrifuge, sdks[sdk]);
const fail = (error) => {
  console.error(stage.report());
  console.error(`${name} (${sdk}): ${error.stack ?? error}`);
  process.exit(1);
};
process.on('uncaughtException', fail);
await scenario(stage).catch(fail);
process.exit(0);
