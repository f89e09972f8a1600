import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { BelayError } from "@belay/shared";

const PROGRAMS = [
  { program: "dpkg-deb", pkg: "dpkg", why: "it builds the packages" },
  { program: "strip", pkg: "binutils", why: "it takes a sixth off the executables" },
  { program: "g++", pkg: "g++", why: "it compiles the one native addon" },
  { program: "make", pkg: "make", why: "it drives the compiler" },
  { program: "python3", pkg: "python3", why: "node-gyp is written in it" },
];

/** Throws `machine-unfit` with all that is missing: a half-built package helps nobody. */
export function checkMachine(): void {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new BelayError(
      "machine-unfit",
      `the packages are for amd64 Linux, and this is ${process.platform}-${process.arch}`,
      {
        hint: "build them on an amd64 Linux machine",
      },
    );
  }
  const missing = PROGRAMS.filter(({ program }) => spawnSync(program, ["--version"]).error !== undefined);
  if (missing.length === 0) return;
  throw new BelayError(
    "machine-unfit",
    missing.map(({ program, why }) => `there is no ${program} here (${why})`).join("; "),
    { hint: `apt-get install ${missing.map(({ pkg }) => pkg).join(" ")}` },
  );
}

/** npm's own node-gyp, which npm installs addons with. Throws `machine-unfit`. */
export function nodeGyp(): string {
  const npm = process.env.npm_execpath;
  const candidates = [
    process.env.npm_config_node_gyp,
    npm === undefined ? undefined : join(dirname(npm), "../node_modules/node-gyp/bin/node-gyp.js"),
    join(dirname(process.execPath), "../lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js"),
    "/usr/share/nodejs/node-gyp/bin/node-gyp.js",
  ];
  const found = candidates.find((path) => path !== undefined && existsSync(path));
  if (found !== undefined) return found;
  throw new BelayError("machine-unfit", "npm's node-gyp is not where npm puts it", {
    hint: "start this through npm: npm run package",
  });
}
