import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { bundleController } from "./bundle.js";
import { addContents } from "./contained.js";
import { buildDeb } from "./deb.js";
import { addManual } from "./man/pages.js";
import { run } from "./run.js";
import type { Runtime } from "./runtime.js";
import { type Edition, ROOT } from "./source.js";
import { Tree } from "./tree.js";

const DIR = join(ROOT, "packaging/belay");
const LIB = "usr/lib/belay";
/** The one package with an addon, and what it needs to find it: these go in as they are. */
const UNBUNDLED = {
  "better-sqlite3": ["package.json", "lib"],
  bindings: ["package.json", "bindings.js"],
  "file-uri-to-path": ["package.json", "index.js"],
};

const BELAY = join(ROOT, "packages/controller/bin/belay.js");
/** Where each shell looks for what packages bring. */
const COMPLETIONS = {
  bash: "usr/share/bash-completion/completions/belay",
  zsh: "usr/share/zsh/vendor-completions/_belay",
  fish: "usr/share/fish/vendor_completions.d/belay.fish",
};

/** Lays out and builds Debian's package `belay`: belayd and the command line, with their own Node.js. Returns its path. */
export async function buildControllerDeb(options: {
  edition: Edition;
  runtime: Runtime;
  addon: string;
  staging: string;
  out: string;
}): Promise<string> {
  const { edition, runtime, addon, staging, out } = options;
  const tree = new Tree(staging);
  await tree.copy(`${LIB}/node`, runtime.program, 0o755);
  // Both programs read their version from the package.json above them.
  const about = { name: "belay", version: edition.version, private: true, type: "module" };
  await tree.file(`${LIB}/package.json`, `${JSON.stringify(about, null, 2)}\n`);
  const bundled = [
    await program(tree, "main.js", `${LIB}/lib/belayd.js`, "usr/bin/belayd"),
    await program(tree, "cli/main.js", `${LIB}/lib/cli/belay.js`, "usr/bin/belay"),
    // Whoever is handed a copy of the audit log needs nothing else of Belay.
    await program(tree, "audit/verify-main.js", `${LIB}/lib/audit/belay-audit-verify.js`, "usr/bin/belay-audit-verify"),
  ];
  for (const [name, parts] of Object.entries(UNBUNDLED)) {
    for (const part of parts) await copyPart(tree, name, part);
  }
  await tree.copy(`${LIB}/node_modules/better-sqlite3/build/Release/better_sqlite3.node`, addon);
  await tree.copy(`${LIB}/notified`, join(ROOT, "packaging/notified"), 0o755);
  await tree.copy("usr/lib/systemd/system/belayd.service", join(DIR, "belayd.service"));
  await tree.copy("etc/belay/belayd.yaml", join(DIR, "belayd.yaml"));
  await tree.copy("etc/belay/fleet.yaml", join(DIR, "fleet.yaml"));
  for (const [shell, place] of Object.entries(COMPLETIONS)) {
    await tree.file(place, run(process.execPath, [BELAY, "completion", shell]));
  }
  const folders = [...bundled.flat(), ...Object.keys(UNBUNDLED).map((name) => `node_modules/${name}`)];
  await addContents(tree, { name: "belay", edition, runtime, folders });
  await addManual(tree, "belay", edition);
  await tree.gzip("usr/share/doc/belay/changelog", await readFile(join(ROOT, "packaging/changelog"), "utf8"));
  return buildDeb(tree, { name: "belay", dir: DIR, edition }, out);
}

/** A bundled program that is executable itself: its first line names the package's own Node.js. Returns what is inside. */
async function program(tree: Tree, entry: string, place: string, command: string): Promise<string[]> {
  await tree.file(place, "", 0o755);
  const { packages } = await bundleController(entry, join(tree.root, place));
  await tree.link(command, `/${place}`);
  return packages;
}

async function copyPart(tree: Tree, name: string, part: string): Promise<void> {
  const from = join(ROOT, "node_modules", name, part);
  const place = `${LIB}/node_modules/${name}/${part}`;
  const files = await filesOf(from);
  for (const file of files) await tree.copy(`${place}${file}`, `${from}${file}`);
}

/** The files below a folder as `/name`, or "" for a file itself. */
async function filesOf(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [""];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length));
}
