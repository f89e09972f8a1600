// `npm run demo`: sets up what is missing, then shows the main job. Options go behind `--`: npm run demo -- --yes
import { spawn } from "node:child_process";
import { root, setUp } from "./setup.mjs";

setUp("demo");
const demo = spawn(process.execPath, ["--import=tsx", "scripts/demo/main.ts", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
});
// Ctrl-C reaches the demo too; it tidies up, and this process waits for it.
process.on("SIGINT", () => {});
demo.on("close", (status) => process.exit(status ?? 1));
