import { createCipheriv, createHash } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ArchiveFile, packArchive } from "./archive.js";
import { bundledProgram, compiledProgram, MODULES_FROM } from "./program.js";
import type { Behaviour, Release } from "./src/release.js";

/** What a bad release does: the name of a behaviour, or the behaviour with its particulars. */
export type BehaviourChoice = Behaviour["kind"] | Behaviour;

export interface ReleaseOptions {
  readonly version: string;
  /** `good` unless said otherwise. `crash-after` alone means after 5 s. */
  readonly behaviour?: BehaviourChoice;
  /** The behaviour shows only on hosts that run one of these roles. */
  readonly onlyRoles?: readonly ("auth" | "proxy" | "node")[];
  /** So many bytes that don't compress, to make a download or a disk feel its size. */
  readonly paddingBytes?: number;
  /** Path of the Node that runs it, where that is not this one. */
  readonly node?: string;
  /** Each program is one file that can be put anywhere, as Teleport's own are. Costlier to build. */
  readonly oneFile?: boolean;
  /** Path of the folder whose `node_modules` holds the drivers of its backends, where that is not this repository. */
  readonly modulesFrom?: string;
}

export interface BuiltRelease {
  readonly version: string;
  /** Path of the tarball; its `.sha256` lies beside it. */
  readonly file: string;
  readonly sha256: string;
  /** Bytes of the tarball. */
  readonly size: number;
}

const PROGRAMS = ["teleport", "tctl", "tsh"] as const;
const CRASH_AFTER_MS = 5_000;

/** Everything that stands in a release, by its path below `teleport/`. The same options always give the same files. */
export async function releaseFiles(options: ReleaseOptions): Promise<ArchiveFile[]> {
  const { version, onlyRoles, paddingBytes = 0, node = process.execPath, modulesFrom = MODULES_FROM } = options;
  const release: Release = {
    version,
    commit: createHash("sha1").update(version).digest("hex").slice(0, 7),
    behaviour: particulars(options.behaviour ?? "good"),
    ...(onlyRoles === undefined ? {} : { onlyRoles }),
    modulesFrom,
  };
  const text = (path: string, content: string, mode = 0o644) => ({ path, mode, content: Buffer.from(content) });
  const padding = paddingBytes > 0 ? [{ path: "padding", mode: 0o644, content: noise(paddingBytes, version) }] : [];
  const around = [
    text("VERSION", `v${version}\n`),
    text("install", INSTALL, 0o755),
    text("examples/systemd/teleport.service", UNIT),
    ...padding,
  ];
  if (options.oneFile) {
    const programs = await Promise.all(
      PROGRAMS.map(async (name) => text(name, wholeProgram(await bundledProgram(name), release, node), 0o755)),
    );
    return [...programs, ...around];
  }
  return [
    ...around,
    ...PROGRAMS.map((name) => text(name, launcher(name, node), 0o755)),
    text("release.json", `${JSON.stringify(release, null, 2)}\n`),
    text("lib/package.json", `${JSON.stringify({ type: "module" })}\n`),
    ...(await compiledProgram()),
  ];
}

/**
 * Writes `teleport-v<version>-linux-amd64-bin.tar.gz` and its `.sha256` into the folder `out`. Deterministic: the same
 * options give the same bytes. Each file appears whole or not at all.
 */
export async function buildRelease(options: ReleaseOptions & { readonly out: string }): Promise<BuiltRelease> {
  const files = await releaseFiles(options);
  const tarball = packArchive(files.map((file) => ({ ...file, path: `teleport/${file.path}` })));
  const sha256 = createHash("sha256").update(tarball).digest("hex");
  const name = `teleport-v${options.version}-linux-amd64-bin.tar.gz`;
  await mkdir(options.out, { recursive: true });
  await writeWhole(join(options.out, name), tarball);
  await writeWhole(join(options.out, `${name}.sha256`), `${sha256}  ${name}\n`);
  return { version: options.version, file: join(options.out, name), sha256, size: tarball.length };
}

function particulars(choice: BehaviourChoice): Behaviour {
  if (typeof choice !== "string") return choice;
  return choice === "crash-after" ? { kind: choice, afterMs: CRASH_AFTER_MS } : { kind: choice };
}

async function writeWhole(file: string, content: Buffer | string): Promise<void> {
  await writeFile(`${file}.${process.pid}`, content);
  await rename(`${file}.${process.pid}`, file);
}

/** Bytes that don't compress, the same for the same seed: a cipher over zeros. */
function noise(bytes: number, seed: string): Buffer {
  const key = createHash("sha256").update(seed).digest();
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
}

/**
 * An executable that the kernel starts with one certain Node: the native SQLite driver is built for it, and a service's
 * environment may have no PATH. One thread for V8's own work and a small young generation keep dozens of them small.
 * It is CommonJS, as a file with no extension must be, and `import` then finds the program beside its real place.
 */
function launcher(program: string, node: string): string {
  return `${shebang(node)}import("./lib/${program}.js");\n`;
}

/** The same with all of the program inside it: a module that has no place of its own, and is told its release. */
function wholeProgram(code: string, release: Release, node: string): string {
  const url = `data:text/javascript;base64,${Buffer.from(code).toString("base64")}`;
  return `${shebang(node)}globalThis.standinRelease = ${JSON.stringify(release)};\nimport("${url}");\n`;
}

function shebang(node: string): string {
  return `#!/usr/bin/env -S ${node} --v8-pool-size=1 --max-semi-space-size=1\n`;
}

const INSTALL = `#!/bin/sh
# Copies the binaries to where the unit file expects them.
set -eu
cd "$(dirname "$0")"
cp -f teleport tctl tsh release.json "\${1:-/usr/local/bin}/"
cp -rf lib "\${1:-/usr/local/bin}/"
`;

const UNIT = `[Unit]
Description=Teleport Service (stand-in)
After=network.target

[Service]
Type=simple
Restart=always
RestartSec=5
EnvironmentFile=-/etc/default/teleport
ExecStart=/usr/local/bin/teleport start --config /etc/teleport.yaml --pid-file=/run/teleport.pid
ExecReload=/bin/kill -HUP $MAINPID
PIDFile=/run/teleport.pid
LimitNOFILE=524288

[Install]
WantedBy=multi-user.target
`;
