/** Who may work with whom. Pure: the rules of Teleport's versions, and nothing else. */

export function majorOf(version: string): number {
  const major = Number.parseInt(version, 10);
  if (Number.isNaN(major)) throw new Error(`${JSON.stringify(version)} is not a version`);
  return major;
}

/** The oldest client that a server of this version serves: one major behind it. */
export function minClientVersion(version: string): string {
  return `${majorOf(version) - 1}.0.0`;
}

/** What auth does with a backend that `from` wrote last. */
export function upgradePath(from: string, to: string): "same" | "migrate" | "unsupported" {
  const step = majorOf(to) - majorOf(from);
  if (step === 0) return "same";
  return step === 1 ? "migrate" : "unsupported";
}

/** Teleport tolerates two neighbouring majors of auth on one backend only since it says so in its documentation. */
const FIRST_ROLLING_MAJOR = 18;

/** May auths of these two versions be alive on one backend at the same moment? */
export function mayShareBackend(a: string, b: string): boolean {
  const [low, high] = [Math.min(majorOf(a), majorOf(b)), Math.max(majorOf(a), majorOf(b))];
  return low === high || (high - low === 1 && high >= FIRST_ROLLING_MAJOR);
}

export interface Client {
  readonly name: string;
  readonly roles: readonly string[];
  readonly version: string;
}

/** Why an auth of `authVersion`, whose cluster has these proxies, refuses a client; null: it is welcome. */
export function whyRefused(client: Client, authVersion: string, proxies: readonly Client[]): string | null {
  const major = majorOf(client.version);
  const who = `${client.roles.join("+")} ${client.name} (${client.version})`;
  if (client.roles.includes("leaf")) return whyLeafRefused(client, authVersion);
  if (major > majorOf(authVersion)) return `${who} is newer than auth (${authVersion})`;
  if (major < majorOf(authVersion) - 1) return `${who} is more than one major behind auth (${authVersion})`;
  if (client.roles.includes("proxy")) return null;
  const older = proxies.find((proxy) => major > majorOf(proxy.version));
  return older === undefined ? null : `${who} is newer than proxy ${older.name} (${older.version})`;
}

function whyLeafRefused(leaf: Client, rootVersion: string): string | null {
  const ahead = majorOf(leaf.version) - majorOf(rootVersion);
  if (ahead > 0) return `leaf cluster ${leaf.name} (${leaf.version}) is ahead of its root (${rootVersion})`;
  if (ahead < -1)
    return `leaf cluster ${leaf.name} (${leaf.version}) is more than one major behind its root (${rootVersion})`;
  return null;
}
