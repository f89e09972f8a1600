// `npm run package`: sets up what is missing, then builds the packages. Options go behind `--`: npm run package -- --help
import { spawnSync } from "node:child_process";
import { root, setUp } from "./setup.mjs";

setUp("package");
const { status } = spawnSync(process.execPath, ["--import=tsx", "scripts/package/main.ts", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
});
process.exit(status ?? 1);
