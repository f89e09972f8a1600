// `npm run redteam`: sets up what is missing, then sets a stolen belayd on an agent. `npm run redteam -- --count 1000000 --seed 7`
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { root, setUp } from "./setup.mjs";

const { values } = parseArgs({
  options: { count: { type: "string", default: "100000" }, seed: { type: "string" } },
});
for (const [name, value] of Object.entries(values)) {
  if (/^[1-9][0-9]{0,9}$/.test(value)) continue;
  process.stderr.write(`--${name} takes a whole number, not ${value}\n`);
  process.exit(2);
}
setUp();
const team = spawn(process.execPath, ["--import=tsx", "test/hostile/redteam.test.ts"], {
  cwd: root,
  stdio: "inherit",
  env: {
    ...process.env,
    BELAY_REDTEAM_COUNT: values.count,
    ...(values.seed === undefined ? {} : { BELAY_REDTEAM_SEED: values.seed }),
    // The test says itself how long it may take; left to tap, it would end after half a minute.
    TAP_TIMEOUT: "0",
  },
});
process.on("SIGINT", () => {});
team.on("close", (status) => process.exit(status ?? 1));
