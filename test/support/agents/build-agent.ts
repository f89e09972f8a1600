import { createHash } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";
import { type ArchiveFile, packArchive } from "../standin/archive.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/**
 * What an agent of another version does once it is started for good; asked for its version, or to check its file, each of
 * them answers as a good one.
 * - `ends`: it ends at once, again and again. `hangs`: it says nothing to anybody, and ignores its end.
 * - `babbles`: it dials, and offers no protocol that belayd speaks.
 */
export type AgentBehaviour = "good" | "ends" | "hangs" | "babbles" | { readonly entry: string };

/** The agent of this very source as one script that says another version of itself, below `dir`. */
export async function layOutAgent(dir: string, version: string, behaviour: AgentBehaviour = "good"): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const file of await agentFiles(version, behaviour)) {
    await writeFile(join(dir, file.path), file.content);
    await chmod(join(dir, file.path), file.mode);
  }
}

/** Packs `belay-agent-v<version>-linux-amd64.tar.gz` into `out`. `node` is the Node.js of the hosts that it is for. */
export async function buildAgent(
  out: string,
  version: string,
  behaviour: AgentBehaviour = "good",
  node = process.execPath,
): Promise<{ version: string; file: string; sha256: string; size: number }> {
  const files = await agentFiles(version, behaviour, node);
  const tarball = packArchive(files.map((file) => ({ ...file, path: `belay-agent/${file.path}` })));
  const file = join(out, `belay-agent-v${version}-linux-amd64.tar.gz`);
  await mkdir(out, { recursive: true });
  await writeFile(file, tarball);
  return { version, file, sha256: createHash("sha256").update(tarball).digest("hex"), size: tarball.length };
}

async function agentFiles(version: string, behaviour: AgentBehaviour, node = process.execPath): Promise<ArchiveFile[]> {
  const text = (path: string, content: string, mode = 0o644) => ({ path, mode, content: Buffer.from(content) });
  return [
    text("VERSION", `${version}\n`),
    text("belay-agent", launcher(behaviour, node), 0o755),
    text("good.mjs", await bundle("packages/agent/dist/main.js", version, [])),
    ...(behaviour === "babbles"
      ? [text("other.mjs", await bundle("packages/agent/dist/main.js", version, [babble]))]
      : []),
    ...(typeof behaviour === "object" ? [text("other.mjs", await bundle(behaviour.entry, version, []))] : []),
  ];
}

/** The shell becomes the program, under the same pid. A test runner's NODE_OPTIONS are none of an agent's. */
function launcher(behaviour: AgentBehaviour, node: string): string {
  const become = (script: string) => `exec /usr/bin/env -u NODE_OPTIONS '${node}' "\${0%/*}/${script}" "$@"`;
  const started = behaviour === "ends" ? "exit 3" : behaviour === "hangs" ? HANG : become("other.mjs");
  return `#!/bin/sh
case "$1" in
--version | check-config | supervise | rescue) ${become("good.mjs")} ;;
esac
${behaviour === "good" ? become("good.mjs") : started}
`;
}

const HANG = "trap '' TERM INT\nwhile :; do sleep 1; done";

const bundles = new Map<string, Promise<string>>();

/** Built once for each test file. */
function bundle(entry: string, version: string, plugins: Plugin[]): Promise<string> {
  const key = [entry, version, ...plugins.map(({ name }) => name)].join(" ");
  const known = bundles.get(key) ?? bundleAnew(entry, version, plugins);
  bundles.set(key, known);
  return known;
}

async function bundleAnew(entry: string, version: string, plugins: Plugin[]): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    absWorkingDir: ROOT,
    write: false,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    plugins: [saying(version), ...plugins],
    banner: {
      js: 'import { createRequire as makeRequire } from "node:module";const require = makeRequire(import.meta.url);',
    },
  });
  const [file] = outputFiles;
  if (file === undefined) throw new Error(`esbuild made nothing of ${entry}`);
  return file.text;
}

/** Only what the program says of itself differs: it is built for that version. */
function saying(version: string): Plugin {
  return {
    name: "agent-version",
    setup({ onLoad }) {
      onLoad({ filter: /packages\/agent\/dist\/about\.js$/ }, () => ({
        contents: `export const AGENT_VERSION = ${JSON.stringify(version)};`,
      }));
    },
  };
}

const babble: Plugin = {
  name: "babble",
  setup({ onLoad }) {
    onLoad({ filter: /packages\/shared\/dist\/protocol\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replace(/oldest: 1, newest: 2/, "oldest: 98, newest: 99"),
    }));
  },
};
