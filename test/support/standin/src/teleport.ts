import { parseArgs } from "node:util";
import { parseAddress } from "./config.js";
import { ownRelease } from "./release.js";
import { start } from "./start.js";

const USAGE = "usage: teleport version | teleport start --config FILE --pid-file FILE --diag-addr HOST:PORT";

const release = ownRelease();
const [command, ...rest] = process.argv.slice(2);

if (command === "version") {
  process.stdout.write(`Teleport v${release.version} git:v${release.version}-0-g${release.commit} go1.16.2\n`);
} else if (command === "start") {
  const { values } = parseArgs({
    args: rest,
    options: { config: { type: "string" }, "pid-file": { type: "string" }, "diag-addr": { type: "string" } },
  });
  await start(release, {
    config: values.config ?? "/etc/teleport.yaml",
    pidFile: values["pid-file"] ?? null,
    diag: values["diag-addr"] === undefined ? null : parseAddress(values["diag-addr"]),
  });
} else {
  process.stderr.write(`${USAGE}\n`);
  process.exitCode = 64;
}
