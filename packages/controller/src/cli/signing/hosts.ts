import { createHash } from "node:crypto";
import type { Plan } from "../../plan/plan.js";
import { names, plural } from "../render/text.js";

/** Names of hosts on one line. */
export type List = (hosts: readonly string[]) => string;

const SHOWN = 10;

/** Where there are more than anybody reads, a digest stands for all of them, to hold against a list of one's own. */
export function listerOf(all: boolean): List {
  return (hosts) =>
    all || hosts.length <= SHOWN ? hosts.join(", ") : `${names(hosts, SHOWN)} (${digestOfNames(hosts)})`;
}

export function hostLines({ hosts }: Plan, list: List): string[] {
  const byCluster = hostsBy(Object.keys(hosts), (name) => hosts[name]?.cluster ?? "");
  return [...byCluster].map(([cluster, all]) => `${cluster}: ${plural(all.length, "host")}: ${list(all)}`);
}

/** Those that have something in common, by what it is. */
export function hostsBy(hosts: readonly string[], keyOf: (host: string) => string): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const host of hosts) {
    const group = groups.get(keyOf(host));
    if (group === undefined) groups.set(keyOf(host), [host]);
    else group.push(host);
  }
  return groups;
}

/** As `sort | sha256sum` in the C locale finds it, of one name a line. */
function digestOfNames(hosts: readonly string[]): string {
  const lines = [...hosts].sort().map((name) => `${name}\n`);
  return `sha256 ${createHash("sha256").update(lines.join("")).digest("hex")}`;
}
