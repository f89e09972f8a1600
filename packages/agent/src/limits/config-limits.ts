import { compareVersions, type OpKind, parseVersion } from "@belay/shared";
import type { Field } from "../field.js";
import { type Hours, isZone, parseWindow } from "./hours.js";

/** What this host's owner lets nobody do, whoever asks and whoever approved it. Null: no limit. */
export interface LimitsConfig {
  /** Versions of the services' product; below and above, nothing is fetched or swapped. */
  readonly versions: VersionRange | null;
  /** The same for the agent itself. */
  readonly agentVersions: VersionRange | null;
  readonly hours: Hours | null;
  /** Kinds of op that may be done besides looking. */
  readonly ops: ReadonlySet<OpKind> | null;
  /** A list as sha256sum writes it: nothing else is fetched or swapped in. */
  readonly artifacts: string | null;
}

export interface VersionRange {
  readonly lowest: string | null;
  readonly highest: string | null;
}

/** All that changes a host. Looking is always allowed. */
export const ACTING: readonly OpKind[] = [
  "fetch",
  "backup",
  "swap",
  "stop",
  "start",
  "restore",
  "prune",
  "upgrade-agent",
];
const FIELDS = ["versions", "agentVersions", "hours", "ops", "artifacts"];

/** Reads `limits`. Throws `config-invalid`. */
export function limits(field: Field, stateDir: string): LimitsConfig {
  field.members(FIELDS);
  const ops = field.member("ops");
  const artifacts = field.member("artifacts");
  return {
    versions: range(field.member("versions")),
    agentVersions: range(field.member("agentVersions")),
    hours: hours(field.member("hours")),
    ops: ops.absent ? null : new Set(ops.list().map((each) => each.oneOf(ACTING))),
    artifacts: artifacts.absent ? null : artifacts.pathOutside(stateDir),
  };
}

function range(field: Field): VersionRange | null {
  if (field.absent) return null;
  field.members(["lowest", "highest"]);
  const [lowest, highest] = [version(field.member("lowest")), version(field.member("highest"))];
  if (lowest !== null && highest !== null && compareVersions(lowest, highest) > 0) {
    throw field.bad("has a lowest version above its highest");
  }
  return { lowest, highest };
}

function version(field: Field): string | null {
  if (field.absent) return null;
  const text = field.text();
  const parsed = parseVersion(text);
  if (parsed !== null) return parsed;
  throw field.bad(`must be a version such as 18.2.0, not ${JSON.stringify(text)}`);
}

function hours(field: Field): Hours | null {
  if (field.absent) return null;
  field.members(["zone", "windows"]);
  const zone = field.member("zone");
  if (!isZone(zone.text())) throw zone.bad("must be a time zone such as Europe/Berlin or UTC");
  const windows = field
    .member("windows")
    .list()
    .map((each) => {
      const window = parseWindow(each.text());
      if (window === null) throw each.bad('must be like "Mon-Fri 09:00-17:00", "Sat 22:00-04:00" or "01:00-05:00"');
      return window;
    });
  if (windows.length === 0) throw field.member("windows").bad("must be a list of at least one window");
  return { zone: zone.text(), windows };
}
