import { BelayError, parseVersion } from "@belay/shared";
import { t as listTar, type ReadEntry } from "tar";
import type { Artifact } from "./catalogue.js";
import type { ReleaseName } from "./name.js";

/** How the releases of a product are named, and where in them its program lies. */
interface Kind {
  readonly product: string;
  readonly fileName: RegExp;
  /** Its one folder; the program is called the same. */
  readonly folder: string;
  readonly program: RegExp;
  readonly versionFile: RegExp;
}

const KINDS: readonly Kind[] = [
  {
    product: "teleport",
    folder: "teleport",
    fileName:
      /^teleport(?<ent>-ent)?-v(?<version>\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+?)?)-(?<os>linux)-(?<arch>amd64|arm64|arm|386)(?<fips>-fips)?-bin\.tar\.gz$/,
    program: /^teleport(?:-ent)?\/teleport$/,
    versionFile: /^teleport(?:-ent)?\/VERSION$/,
  },
  {
    product: "belay-agent",
    folder: "belay-agent",
    fileName:
      /^belay-agent-v(?<version>\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+?)?)-(?<os>linux)-(?<arch>amd64|arm64|arm|386)\.tar\.gz$/,
    program: /^belay-agent\/belay-agent$/,
    versionFile: /^belay-agent\/VERSION$/,
  },
];

/** A VERSION file is one short line; anything longer is something else. */
const MAX_VERSION_BYTES = 64;

/** What a release file's name says it is. Throws `release-name`. */
export function readFileName(file: string): Omit<Artifact, "size" | "sha256"> & ReleaseName {
  const kind = KINDS.find(({ fileName }) => fileName.test(file));
  const groups = kind?.fileName.exec(file)?.groups;
  const version = groups?.version === undefined ? null : parseVersion(groups.version);
  if (kind === undefined || groups === undefined || version === null) {
    throw new BelayError("release-name", `"${file}" is not named like a release`, {
      hint: "Expected teleport[-ent]-v<version>-linux-<arch>[-fips]-bin.tar.gz, or belay-agent-v<version>-linux-<arch>.tar.gz.",
    });
  }
  return {
    product: kind.product,
    version,
    os: groups.os ?? "linux",
    arch: groups.arch ?? "amd64",
    edition: groups.ent === undefined ? "oss" : "ent",
    fips: groups.fips !== undefined,
    file,
  };
}

/**
 * Reads a stored tarball through once, writing nothing. Throws `release-malformed` unless it is whole, all of it lies
 * below one folder, nothing points out of it, the product's program is there, and it is the version that its name says.
 * Agents check the same again, but for the version, which the new process itself reports.
 */
export async function inspectTarball(path: string, { product, version }: ReleaseName): Promise<void> {
  const kind = KINDS.find((one) => one.product === product);
  if (kind === undefined) throw new TypeError(`no releases of ${product} are known`);
  let binary = false;
  let stated = "";
  let problem: string | null = null;
  const note = (what: string) => {
    problem ??= what;
  };
  try {
    await listTar({
      file: path,
      strict: true,
      onReadEntry(entry: ReadEntry) {
        const unsafe = unsafeEntry(entry);
        if (unsafe !== null) note(unsafe);
        if (kind.program.test(entry.path) && entry.type === "File") binary = true;
        if (kind.versionFile.test(entry.path) && entry.size <= MAX_VERSION_BYTES) {
          entry.on("data", (chunk: Buffer) => {
            stated += chunk.toString("utf8");
          });
        }
      },
    });
  } catch (cause) {
    throw new BelayError("release-malformed", `not a whole gzipped tar file: ${(cause as Error).message}`, {
      hint: "Fetch it again.",
      cause,
    });
  }
  if (problem !== null) {
    throw new BelayError("release-malformed", problem, {
      hint: "Do not use this file: it is not a release as published.",
    });
  }
  if (!binary) {
    throw new BelayError("release-malformed", `there is no ${kind.folder}/${kind.folder} in it`, {
      hint: `Is this a release of ${product}?`,
    });
  }
  const inside = stated.trim().replace(/^v/, "");
  if (inside !== "" && inside !== version) {
    throw new BelayError("release-malformed", `its name says ${version}, and its VERSION file ${inside}`, {
      hint: "Was it renamed? Add it under the name it was published by.",
    });
  }
}

function unsafeEntry(entry: ReadEntry): string | null {
  const segments = entry.path.split("/");
  if (entry.path.startsWith("/") || segments.includes("..")) return `entry "${entry.path}" leaves its folder`;
  switch (entry.type) {
    case "File":
    case "OldFile":
    case "ContiguousFile":
    case "Directory":
      return null;
    case "SymbolicLink":
    case "Link": {
      const target = entry.linkpath ?? "";
      const from = entry.type === "Link" ? [] : segments.slice(0, -1);
      return leaves(from, target) ? `link "${entry.path}" leads out of its folder, to "${target}"` : null;
    }
    default:
      return `entry "${entry.path}" is a ${entry.type}`;
  }
}

function leaves(from: readonly string[], target: string): boolean {
  if (target.startsWith("/")) return true;
  let depth = from.length;
  for (const segment of target.split("/")) {
    if (segment === "..") depth -= 1;
    else if (segment !== "." && segment !== "") depth += 1;
    // Depth 1 is the release's own folder: above it is somebody else's.
    if (depth < 1) return true;
  }
  return false;
}
