import { ownRelease } from "./release.js";

const { version, commit } = ownRelease();
if (process.argv[2] === "version") {
  process.stdout.write(`Teleport v${version} git:v${version}-0-g${commit} go1.16.2\n`);
} else {
  process.stderr.write("usage: tsh version\n");
  process.exitCode = 64;
}
