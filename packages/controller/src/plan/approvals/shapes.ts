import {
  BelayError,
  digestOfOp,
  HOST_SLOT,
  type HostName,
  inSlots,
  type Op,
  RUN_SLOT,
  renameBackups,
} from "@belay/shared";
import { platformName } from "../artifacts.js";
import type { Stage } from "../plan.js";
import { definitionAt, opsFor, type PlanIndex, stopOpsFor, targetOf } from "../program.js";

/** Which of a stage's two lists a host stands in. */
export type List = "stop" | "batches";

/**
 * The digests of what hosts are asked for in one stage, op by op. Thousands of hosts are asked for the same but for their own
 * name, so programs are filled in once for each kind of host, with a slot in the name's place.
 */
export class Shapes {
  readonly #index: PlanIndex;
  readonly #kinds = new Map<HostName, string>();
  readonly #known = new Map<string, readonly string[]>();
  /** Whether programs ask for a service to be defined as it was. */
  readonly #asking = new Map<string, boolean>();

  constructor(index: PlanIndex) {
    this.#index = index;
  }

  /** Throws `program-invalid` for ops that hang on the run, which nobody knows when a plan is approved. */
  digestsOf(stage: Stage, list: List, host: HostName): readonly string[] {
    const known = this.#known.get(this.#keyOf(stage, list, host));
    if (known !== undefined) return known;
    const digests = this.#digests(stage, list, host);
    // Only now it is certain whether others are asked for the same.
    this.#known.set(this.#keyOf(stage, list, host), digests);
    return digests;
  }

  #keyOf(stage: Stage, list: List, host: HostName): string {
    if (stage.restores?.[host] !== undefined) return `${stage.id} ${list} host ${host}`;
    // Not part of the kind: units may differ from host to host, and most stages don't ask for them.
    const definition = this.#asksForDefinition(stage.program) ? definitionAt(this.#index, stage.id, host) : "";
    return `${stage.id} ${list} ${definition} ${this.#kindOf(host)}`;
  }

  #asksForDefinition(program: string): boolean {
    let asks = this.#asking.get(program);
    if (asks === undefined) {
      const variants = Object.entries(this.#index.plan.programs).filter(
        ([name]) => name.replace(/:.*$/, "") === program,
      );
      asks = JSON.stringify(variants).includes("{definition}");
      this.#asking.set(program, asks);
    }
    return asks;
  }

  #digests(stage: Stage, list: List, host: HostName): readonly string[] {
    const fill = list === "stop" ? stopOpsFor : opsFor;
    const where = { run: RUN_SLOT, stage: stage.id, host };
    const general = fill(this.#index, { ...where, named: HOST_SLOT });
    if (!general.some((op) => mentions(op, HOST_SLOT))) return general.map(digestOf);
    // Its name stands in more places than its backups' names: no other host is asked for the same.
    this.#kinds.set(host, `host ${host}`);
    return fill(this.#index, where).map((op) =>
      digestOf(renameBackups(op, (id) => inSlots(id, { run: RUN_SLOT, host }))),
    );
  }

  #kindOf(name: HostName): string {
    let kind = this.#kinds.get(name);
    if (kind === undefined) {
      kind = kindOf(this.#index, name);
      this.#kinds.set(name, kind);
    }
    return kind;
  }
}

/** Hosts of the same kind are filled in from the same values, but for their names. */
function kindOf({ plan, moves }: PlanIndex, name: HostName): string {
  const host = plan.hosts[name];
  if (host === undefined || Object.keys(host.vars).length > 0) return `host ${name}`;
  const targets = (moves.get(name) ?? []).map((at) => {
    const hop = plan.hops[at];
    return hop === undefined ? "" : `${at}:${targetOf(hop, name)}`;
  });
  return [host.cluster, host.roles.join("+"), host.version, platformName(host.platform), ...targets].join(" ");
}

function digestOf(op: Op): string {
  if (!mentions(op, RUN_SLOT)) return digestOfOp(op);
  throw new BelayError(
    "program-invalid",
    `the ${op.kind} op hangs on the run, which is not there yet when it is approved`,
    {
      hint: "Leave {run}, {backup} and {snapshot} out of the variables in fleet.yaml.",
    },
  );
}

function mentions(op: Op, slot: string): boolean {
  return JSON.stringify(renameBackups(op, () => "")).includes(slot);
}
