import { type ClusterName, type HostName, ROLE_ORDER, type Role } from "@belay/shared";
import { readBackups } from "./backups.js";
import { Declaration, type Field } from "./document.js";
import type { Cluster, Fleet, GatePolicies, Host, Vars } from "./fleet.js";
import { readClusterGates, readGates, readRollout } from "./policy.js";
import { expandName, MAX_HOSTS } from "./ranges.js";
import { findTrustCycles } from "./trust.js";

const NAME = /^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$/;
const NAME_RULE =
  "lower-case letters, digits, dots and dashes, at most 64, beginning and ending with a letter or digit";

/** What is read of a cluster besides itself: where it stands in the file, and its own gates. */
interface ClusterEntry {
  readonly cluster: Cluster;
  readonly field: Field;
  readonly trusts: Field;
  readonly gates: GatePolicies["byCluster"][string];
}

/**
 * Reads fleet.yaml: expands ranges, fills in defaults, checks everything. Throws a BelayError that lists every problem
 * (`context.problems`), with the code that they share, or `fleet-invalid`.
 */
export function parseFleet(text: string, file: string): Fleet {
  const declaration = new Declaration(text, file, "fleet-invalid");
  const { root } = declaration;
  if (!root.present) root.note("the file is empty");
  const top = root.members([
    "fleet",
    "product",
    "environment",
    "clusters",
    "gates",
    "rollout",
    "offline",
    "backups",
    "policy",
    "vars",
  ]);
  const hosts = new HostNames();
  const entries = top.clusters.items().map((field) => readCluster(field, hosts));
  if (top.clusters.present ? entries.length === 0 : true) top.clusters.note("at least one cluster is needed");
  checkClusters(entries);
  const fleet: Fleet = {
    fleet: top.fleet.required() ?? "",
    product: top.product.text() ?? "teleport",
    environment: top.environment.text() ?? "production",
    clusters: entries.map((entry) => entry.cluster),
    gates: readGates(
      top.gates,
      entries.map((entry) => entry.cluster.name),
      Object.fromEntries(entries.map((entry) => [entry.cluster.name, entry.gates ?? {}])),
    ),
    rollout: readRollout(top.rollout),
    offline: top.offline.choice(["hold", "quarantine"]) ?? "hold",
    backups: readBackups(top.backups),
    approvals: readApprovals(top.policy),
    vars: readVars(top.vars),
  };
  if (fleet.approvals === "signed") refuseProceeding(fleet, top.gates);
  declaration.end();
  return deepFreeze(fleet);
}

function readApprovals(field: Field): Fleet["approvals"] {
  return field.members(["approvals"]).approvals.choice(["recorded", "signed"]) ?? "recorded";
}

/** A gate that time opens has no signatures to show: its hosts would refuse what comes behind it. */
function refuseProceeding({ gates }: Fleet, field: Field): void {
  const policies = [gates.default, ...Object.values(gates.byKind)];
  const own = Object.values(gates.byCluster).flatMap((kinds) => Object.values(kinds));
  if (![...policies, ...own].some(({ onTimeout }) => onTimeout === "proceed")) return;
  field.note("a gate with `onTimeout: proceed` has no signatures, and `policy.approvals` asks for them", {
    hint: "Let it hold, deny or roll back.",
  });
}

function readCluster(field: Field, hosts: HostNames): ClusterEntry {
  const members = field.members(["name", "trusts", "managed", "ha", "hosts", "vars", "gates"]);
  const name = readName(members.name, members.name.required());
  const trusts = members.trusts.text();
  const address = members.managed.present ? readManaged(members.managed) : undefined;
  const read = members.hosts.items().map((host) => readHosts(host, hosts, address !== undefined));
  const declared = read.flatMap((some) => some ?? []);
  if (read.length === 0) members.hosts.note("at least one host is needed");
  // A host that could not be read may be the auth.
  const whole = read.length > 0 && !read.includes(null);
  if (address === undefined && whole && !declared.some((host) => host.roles.includes("auth"))) {
    members.hosts.note(`cluster "${name}" has no auth host`, {
      code: "cluster-without-auth",
      hint: "Declare its auth hosts, or `managed: { address: ... }` when the vendor runs them.",
    });
  }
  return {
    field: members.name,
    trusts: members.trusts,
    gates: readClusterGates(members.gates),
    cluster: {
      name,
      ...(trusts === undefined ? {} : { trusts }),
      ...(address === undefined ? {} : { managed: { address } }),
      ha: members.ha.choice(["shrink", "rolling"]) ?? "shrink",
      hosts: declared,
      vars: readVars(members.vars),
    },
  };
}

function readManaged(field: Field): string {
  const { address } = field.members(["address"]);
  const text = address.required() ?? "";
  if (text !== "" && !/^[A-Za-z0-9.-]+(?::\d{1,5})?$/.test(text)) {
    address.note(`must be a host name, with or without a port, not "${text}"`);
  }
  return text;
}

/** The hosts that one entry stands for; null when that can't be said. */
function readHosts(field: Field, names: HostNames, managed: boolean): Host[] | null {
  const members = field.members(["name", "roles", "vars"]);
  const pattern = members.name.required();
  const roles = readRoles(members.roles, managed);
  const vars = readVars(members.vars);
  if (pattern === undefined || roles === undefined) return null;
  const expanded = expandName(pattern);
  if (typeof expanded === "string") {
    members.name.note(expanded);
    return null;
  }
  return expanded
    .filter((name) => names.take(members.name, name))
    .map((name) => ({ name: readName(members.name, name), roles, vars }));
}

function readRoles(field: Field, managed: boolean): Host["roles"] | undefined {
  if (!field.present) return field.note("is missing", { hint: `Roles are ${ROLE_ORDER.join(", ")}.` });
  const given = field.items().map((item) => {
    const role = item.choice<Role>(ROLE_ORDER, { code: "role-unknown" });
    if (managed && role !== undefined && role !== "node") item.note(`the ${role} of a managed cluster is the vendor's`);
    return role;
  });
  const [first, ...others] = ROLE_ORDER.filter((role) => given.includes(role));
  if (first !== undefined) return [first, ...others];
  return given.length === 0 ? field.note("at least one role is needed") : undefined;
}

function checkClusters(entries: readonly ClusterEntry[]): void {
  const seen = new Map<ClusterName, ClusterEntry>();
  for (const entry of entries) {
    if (seen.has(entry.cluster.name)) entry.field.note(`there is a cluster "${entry.cluster.name}" already`);
    else seen.set(entry.cluster.name, entry);
  }
  for (const { cluster, trusts } of entries) {
    if (cluster.trusts === undefined || seen.has(cluster.trusts)) continue;
    trusts.note(`there is no cluster "${cluster.trusts}" to trust`, {
      code: "trust-unknown",
      hint: "Name a cluster of this fleet, or leave `trusts` out.",
    });
  }
  for (const cycle of findTrustCycles(entries.map((entry) => entry.cluster))) {
    const [first] = cycle;
    if (first === undefined) continue;
    seen.get(first)?.trusts.note(`trust goes round in a circle: ${[...cycle, first].join(" -> ")}`, {
      code: "trust-cycle",
      hint: "A leaf cluster trusts its root; the root trusts nobody. Remove one of these `trusts`.",
    });
  }
}

function readName(field: Field, name: string | undefined): string {
  if (name !== undefined && !NAME.test(name)) field.note(`"${name}" is no name: ${NAME_RULE}`);
  return name ?? "";
}

function readVars(field: Field): Vars {
  const vars: Record<string, string> = {};
  for (const { key, value } of field.entries()) {
    if (!/^[A-Za-z][A-Za-z0-9]*$/.test(key)) value.note(`"${key}" is no variable's name: letters and digits only`);
    vars[key] = value.text() ?? "";
  }
  return vars;
}

/** Every host's name once in the whole fleet, because agents are known by it, and no more of them than planning can hold. */
class HostNames {
  readonly #taken = new Set<HostName>();

  take(field: Field, name: HostName): boolean {
    if (this.#taken.has(name)) {
      field.note(`host "${name}" is declared already`, {
        code: "host-duplicate",
        hint: "A host belongs to one cluster and is declared once, with all its roles.",
      });
      return false;
    }
    if (this.#taken.size === MAX_HOSTS) field.note(`more than ${MAX_HOSTS} hosts`);
    this.#taken.add(name);
    return this.#taken.size <= MAX_HOSTS;
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const member of Object.values(value)) deepFreeze(member);
  return value;
}
