// `npm run power`: sets up what is missing, then cuts the power of small machines. `npm run power -- --cuts 100000`
import { spawn } from "node:child_process";
import { root, setUp } from "./setup.mjs";

setUp();
const power = spawn(process.execPath, ["--import=tsx", "scripts/power/main.ts", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
});
process.on("SIGINT", () => {});
power.on("close", (status) => process.exit(status ?? 1));
