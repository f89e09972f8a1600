// `npm run lab`: sets up what is missing, then boots hosts and upgrades them. Options go behind `--`: npm run lab -- --yes
import { spawn } from "node:child_process";
import { root, setUp } from "./setup.mjs";

setUp("lab");
const lab = spawn(process.execPath, ["--import=tsx", "scripts/lab/main.ts", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
});
// Ctrl-C reaches the lab too; it clears up, and this process waits for it.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => lab.kill(signal));
lab.on("close", (status) => process.exit(status ?? 1));
