// One promise, kept towards an unmodified Centrifuge SDK: node scenarios.mjs <scenario> <ws-url>[,<ws-url>…] [sdk]
//
// With several URLs they are of nodes that serve the same rooms. `sdk` is one of sdks.mjs. Exit code 0 if the promise was kept. A line
// such as KILL on stdout asks the driver to do that to the node; the scenario goes on when DONE comes on stdin.

import * as chat from './scenarios/chat.mjs';
import * as cluster from './scenarios/cluster.mjs';
import * as errors from './scenarios/errors.mjs';
import * as fallback from './scenarios/fallback.mjs';
import * as history from './scenarios/history.mjs';
import * as network from './scenarios/network.mjs';
import * as node from './scenarios/node.mjs';
import * as presence from './scenarios/presence.mjs';
import * as serverApi from './scenarios/server_api.mjs';
import * as slow from './scenarios/slow.mjs';
import * as tokens from './scenarios/tokens.mjs';
import { load, names } from './sdks.mjs';
import { Stage } from './stage.mjs';

const scenarios = { ...chat, ...cluster, ...errors, ...fallback, ...history, ...network, ...node, ...presence, ...serverApi, ...slow, ...tokens };
const [name, url, sdk = 'centrifuge'] = process.argv.slice(2);
const scenario = Object.hasOwn(scenarios, name ?? '') && scenarios[name];
if (!scenario || !url || !names.includes(sdk)) {
  console.error(`usage: node scenarios.mjs <scenario> <ws-url> [sdk]\nscenarios: ${Object.keys(scenarios).join(' ')}\nsdks: ${names.join(' ')}`);
  process.exit(2);
}

// An SDK that throws where nobody can catch it breaks the application: that fails the scenario.
const stage = new Stage(url, await load(sdk));
const fail = (error) => {
  console.error(stage.report());
  console.error(`${name} (${sdk}): ${error.stack ?? error}`);
  process.exit(1);
};
process.on('uncaughtException', fail);
await scenario(stage).catch(fail);
process.exit(0);
