// `npm run bench`: sets up what is missing, then measures. A part of it: npm run bench -- plan
import { spawn } from "node:child_process";
import { root, setUp } from "./setup.mjs";

setUp();
const bench = spawn(process.execPath, ["--import=tsx", "scripts/bench/main.ts", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
});
// Ctrl-C reaches the bench too; it tidies up, and this process waits for it.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => bench.kill("SIGTERM"));
bench.on("close", (status) => process.exit(status ?? 1));
