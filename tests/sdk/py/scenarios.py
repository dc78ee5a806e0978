"""One promise, kept towards the unmodified Python SDK: python scenarios.py <scenario> <ws-url> [json|protobuf]

Exit code 0 if the promise was kept. A line such as KILL on stdout asks the driver to do that to the node; the scenario
goes on when DONE comes on stdin.
"""

import asyncio
import inspect
import sys
import traceback

import chat
import errors
import history
import network
import node
import presence
import puts
import tokens
from stage import Stage

SCENARIOS = {
    name: scenario
    for module in (chat, errors, history, network, node, presence, puts, tokens)
    for name, scenario in inspect.getmembers(module, inspect.iscoroutinefunction)
    if scenario.__module__ == module.__name__ and not name.startswith("_")
}


async def main(name: str, url: str, encoding: str = "json") -> int:
    stage = Stage(url, use_protobuf=encoding == "protobuf")
    # An SDK whose tasks fail where nobody can catch it breaks the application: that fails the scenario.
    asyncio.get_running_loop().set_exception_handler(lambda _, context: stage.fail(context))
    try:
        await SCENARIOS[name](stage)
        stage.note()
    except Exception:
        print(stage.report(), file=sys.stderr)
        traceback.print_exc()
        return 1
    finally:
        await stage.leave()
    return 0


if len(sys.argv) not in (3, 4) or sys.argv[1] not in SCENARIOS or sys.argv[3:] not in ([], ["json"], ["protobuf"]):
    print(f"usage: python scenarios.py <scenario> <ws-url> [json|protobuf]\nscenarios: {' '.join(SCENARIOS)}", file=sys.stderr)
    sys.exit(2)
sys.exit(asyncio.run(main(*sys.argv[1:])))
