import { type HostName, isOlder, majorOf } from "@belay/shared";
import type { Hop, Plan, Stage } from "../plan.js";
import type { Findings } from "./finding.js";
import {
  aheadOfRoot,
  aheadOfServers,
  behindAuth,
  behindRoot,
  type Model,
  type ModelCluster,
  type ModelHost,
} from "./model.js";
import { onlyStarts, programNamed, restoresIn, swapsService } from "./programs.js";

/** One host about to move. */
interface Step {
  readonly host: ModelHost;
  readonly to: string;
  readonly major: number;
}

/**
 * Carries a plan out on the model, one batch after the other, and looks after each one whether I1 to I5 hold. Hosts of
 * one batch go in any order, so while a batch is under way each of its hosts counts as being at both its versions.
 */
export function replay(plan: Plan, model: Model, findings: Findings): void {
  for (const hop of plan.hops) {
    if (plan.kind === "upgrade") checkHopStart(plan, hop, model, findings);
    const ready = { backedUp: new Set<HostName>(), fetched: new Set<HostName>() };
    const read = new Set<string>();
    let isUntouched = true;
    for (const stage of hop.stages) {
      if (stage.kind === "fetch") for (const host of stage.batches.flat()) ready.fetched.add(host);
      if (stage.kind === "backup" && keepsAndReadsBack(plan, stage)) {
        for (const host of stage.batches.flat()) ready.backedUp.add(host);
      }
      if (stage.kind === "backup" && isUntouched) for (const one of readBackIn(plan, stage)) read.add(one);
      if (stage.kind !== "auth" && stage.kind !== "proxy" && stage.kind !== "node") continue;
      isUntouched = false;
      checkReadBack(stage, read, findings);
      for (const name of stage.stop) stopHost(model.hosts.get(name), name, stage, findings);
      for (const batch of stage.batches) {
        const steps = batch.flatMap((name): Step[] => {
          const host = model.hosts.get(name);
          const to = hop.targets?.[name] ?? hop.to;
          return host === undefined ? [] : [{ host, to, major: majorOf(to) }];
        });
        if (plan.kind === "upgrade") checkReady(plan, steps, ready, stage, findings);
        new Batch(plan, stage, model, findings).replay(steps);
      }
    }
    for (const host of model.hosts.values()) {
      if (!host.running) findings.add("I5", hop.id, host.name, `${host.name} is stopped and never started again`);
      host.running = true;
    }
  }
}

/** I3: a hop starts only when everything that the plan moves is at its start. */
function checkHopStart(plan: Plan, hop: Hop, model: Model, findings: Findings): void {
  for (const name of Object.keys(plan.hosts)) {
    const host = model.hosts.get(name);
    if (host === undefined || majorOf(hop.to) - host.major <= 1) continue;
    findings.add("I3", hop.id, name, `the hop to ${hop.to} starts while ${name} is still at ${host.version}`);
  }
}

function stopHost(host: ModelHost | undefined, name: HostName, stage: Stage, findings: Findings): void {
  if (host === undefined) return;
  if (host.role !== "auth" || host.cluster.name !== stage.cluster) {
    findings.add("shape", stage.id, name, `${name} is stopped, and is no auth of ${stage.cluster}`);
  }
  host.running = false;
}

/** I4, and the artifact that must be there before anything is touched. */
function checkReady(
  plan: Plan,
  steps: readonly Step[],
  ready: { backedUp: ReadonlySet<HostName>; fetched: ReadonlySet<HostName> },
  stage: Stage,
  findings: Findings,
): void {
  for (const { host } of steps) {
    if (swapsService(plan, stage, host.role) && !ready.backedUp.has(host.name)) {
      findings.add("I4", stage.id, host.name, `${host.name} is swapped before its backup is made and read back`);
    }
    if (!ready.fetched.has(host.name)) {
      findings.add("shape", stage.id, host.name, `${host.name} is swapped before it has fetched anything`);
    }
  }
}

/** The backups of others' making that a stage reads back, as `host backup`. */
function readBackIn(plan: Plan, { program, batches, restores = {} }: Stage): string[] {
  return batches.flat().flatMap((name) => {
    const role = plan.hosts[name]?.role;
    const backup = restores[name];
    if (role === undefined || backup === undefined) return [];
    return programNamed(plan, program, role).includes("verify-backup") ? [`${name} ${backup}`] : [];
  });
}

/** I4: what is put back was found usable before the first host of the hop stopped or moved for it. */
function checkReadBack({ id, restores = {} }: Stage, read: ReadonlySet<string>, findings: Findings): void {
  for (const [name, backup] of Object.entries(restores)) {
    if (read.has(`${name} ${backup}`)) continue;
    findings.add(
      "I4",
      id,
      name,
      `${name} puts ${backup} back, and nobody has read it before this hop touches anything`,
    );
  }
}

function keepsAndReadsBack(plan: Plan, stage: Stage): boolean {
  const programs = Object.entries(plan.programs).filter(
    ([name]) => name === stage.program || name.startsWith(`${stage.program}:`),
  );
  return (
    programs.length > 0 &&
    programs.every(([, ops]) => {
      const kinds = ops.map((op) => op.kind);
      return kinds.includes("backup") && kinds.lastIndexOf("verify-backup") > kinds.lastIndexOf("backup");
    })
  );
}

/** One batch, before, while and after its hosts move. */
class Batch {
  readonly #plan: Plan;
  readonly #stage: Stage;
  readonly #model: Model;
  readonly #findings: Findings;

  constructor(plan: Plan, stage: Stage, model: Model, findings: Findings) {
    this.#plan = plan;
    this.#stage = stage;
    this.#model = model;
    this.#findings = findings;
  }

  replay(steps: readonly Step[]): void {
    for (const step of steps) this.#checkStep(step);
    this.#checkAuth(steps.filter(({ host }) => host.role === "auth"));
    const clusters = new Set(steps.map(({ host }) => host.cluster));
    const before = new Map([...clusters].map((cluster) => [cluster, limitsOf(cluster)]));
    for (const { host, major } of steps) host.cluster.majors[host.role].add(major);
    this.#checkMoved(steps);
    for (const cluster of clusters) {
      const was = before.get(cluster);
      // Nobody else's standing changes unless what serves them does: most batches are nodes.
      if (was !== limitsOf(cluster)) this.#checkServed(cluster.hosts);
      this.#checkTrust(cluster);
    }
    for (const { host, to, major } of steps) {
      host.cluster.majors[host.role].remove(host.major);
      host.version = to;
      host.major = major;
      host.running = true;
    }
  }

  /** I3: one major at most, and never the other way. */
  #checkStep({ host, to, major }: Step): void {
    const { kind } = this.#plan;
    if (Math.abs(major - host.major) > 1) {
      this.#add("I3", host.name, `${host.name} goes from ${host.version} to ${to}, more than one major at once`);
    }
    if (kind === "upgrade" ? isOlder(to, host.version) : isOlder(host.version, to)) {
      this.#add("I3", host.name, `${host.name} goes from ${host.version} to ${to} in a plan of kind ${kind}`);
    }
    const keeps = onlyStarts(this.#plan, this.#stage) || restoresIn(this.#plan, this.#stage);
    if (host.version === to && !keeps) this.#add("shape", host.name, `${host.name} has ${to} already`);
  }

  /** I5: who else runs while an auth of this cluster moves. */
  #checkAuth(steps: readonly Step[]): void {
    const [first] = steps;
    if (first === undefined) return;
    const { cluster } = first.host;
    const back = this.#plan.kind !== "upgrade";
    const crossing = steps.filter(({ host, major }) => host.major !== major);
    const moving = new Set(steps.map(({ host }) => host));
    const others = cluster.hosts.filter((host) => host.role === "auth" && host.running && !moving.has(host));
    if (steps.length > 1 && (crossing.length > 0 || cluster.ha === "rolling")) {
      this.#add("I5", cluster.name, `${steps.length} auths of ${cluster.name} are down at the same time`);
    }
    if (restoresIn(this.#plan, this.#stage)) this.#checkRestore(first, others);
    if (crossing.length === 0) return;
    if (cluster.ha === "rolling" && !back) {
      if (this.#stage.stop.length > 0) this.#add("I5", cluster.name, "auth is stopped though its policy is rolling");
    } else {
      for (const other of others.filter(({ major }) => (back ? major > first.major : major < first.major))) {
        this.#add("I5", other.name, `auth ${other.name} still runs ${other.version} while another goes to ${first.to}`);
      }
    }
    this.#checkPointOfNoReturn(first, back);
  }

  /** A backend is put back under nobody's feet, and only when people have seen what is lost. */
  #checkRestore({ host }: Step, others: readonly ModelHost[]): void {
    for (const other of others) {
      this.#add("I5", other.name, `auth ${other.name} still runs while ${host.name} puts the backend back`);
    }
    if (this.#stage.gate?.pointOfNoReturn !== true) {
      this.#add("I6", host.name, `the gate before ${host.name} does not say that it is the point of no return`);
    }
    if (this.#stage.restores?.[host.name] === undefined) {
      this.#add("I4", host.name, `${host.name} is to put a backup back, and the plan does not say which`);
    }
  }

  /** The first auth that crosses takes the backend with it: people must have seen it, and the way back must be there. */
  #checkPointOfNoReturn({ host, major }: Step, back: boolean): void {
    const { cluster } = host;
    // Going back, an auth that is merely stopped at the old version says nothing of the backend.
    const across = cluster.hosts.some(
      (other) => other.role === "auth" && other !== host && other.major === major && (other.running || !back),
    );
    if (across) return;
    if (!back && this.#stage.gate?.pointOfNoReturn === false) {
      this.#add("I6", host.name, `the gate before ${host.name} does not say that it is the point of no return`);
    }
    const kinds = programNamed(this.#plan, this.#stage.program, "auth");
    const restores = kinds.includes("restore") && kinds.indexOf("restore") < kinds.indexOf("swap");
    if (back && (this.#stage.restores?.[host.name] === undefined || !restores)) {
      this.#add("I4", host.name, `${host.name} goes back over a major without its backend being restored first`);
    }
  }

  /** I1 for the hosts that move, at the version they go to. */
  #checkMoved(steps: readonly Step[]): void {
    for (const { host, to, major } of steps) {
      if (aheadOfServers(host, major) > host.startAhead) {
        this.#add("I1", host.name, `${host.role} ${host.name} at ${to} is ahead of what serves it`);
      }
    }
  }

  /** I1 for everybody in a cluster whose auth or proxies move. */
  #checkServed(hosts: readonly ModelHost[]): void {
    for (const host of hosts) {
      if (aheadOfServers(host) > host.startAhead) {
        this.#add("I1", host.name, `${host.role} ${host.name} at ${host.version} is left ahead of what serves it`);
      }
      if (behindAuth(host) > host.startBehind) {
        this.#add(
          "I1",
          host.name,
          `${host.role} ${host.name} at ${host.version} is left more than one major behind auth`,
        );
      }
    }
  }

  /** I2, upwards and downwards from a cluster that moves. */
  #checkTrust(cluster: ModelCluster): void {
    const { clusters, leaves } = this.#model;
    const root = cluster.trusts === undefined ? undefined : clusters.get(cluster.trusts);
    const pairs = [...(leaves.get(cluster.name) ?? []).map((leaf) => [leaf, cluster] as const)];
    if (root !== undefined && leaves.get(root.name)?.includes(cluster)) pairs.push([cluster, root]);
    for (const [leaf, trusted] of pairs) {
      if (aheadOfRoot(leaf, trusted) > leaf.startAhead) {
        this.#add("I2", leaf.name, `${leaf.name} is ahead of ${trusted.name}, which it trusts`);
      }
      if (behindRoot(leaf, trusted) > leaf.startBehind) {
        this.#add("I2", leaf.name, `${leaf.name} is more than one major behind ${trusted.name}, which it trusts`);
      }
    }
  }

  #add(invariant: "I1" | "I2" | "I3" | "I4" | "I5" | "I6" | "shape", subject: string, message: string): void {
    this.#findings.add(invariant, this.#stage.id, subject, message);
  }
}

/** What the standing of everybody else in the cluster hangs on. */
function limitsOf({ majors }: ModelCluster): string {
  return `${majors.auth.lowest} ${majors.auth.highest} ${majors.proxy.lowest}`;
}
