import type { RestoreAnswer, RestoreRequest } from "../api/contract.js";
import { planRestore } from "../plan/restore.js";
import type { Catalogue } from "../releases/catalogue.js";
import type { RecordStore } from "../store/records.js";
import type { Controller } from "./controller.js";
import type { Planning } from "./planning.js";
import type { ByPerson } from "./ports.js";
import { wholeCopy } from "./whole-copy.js";

export interface RestoresParts {
  readonly controller: Controller;
  readonly planning: Planning;
  readonly records: RecordStore;
  readonly catalogue: (product: string) => Promise<Catalogue>;
}

/**
 * Puts one backup back: a plan and a run like any other, with a gate in front (I6) and a lease on the clusters (I13). Not
 * idempotent: each call that is not for the plan alone starts a run.
 */
export class Restores {
  readonly #parts: RestoresParts;

  constructor(parts: RestoresParts) {
    this.#parts = parts;
  }

  /** Throws `backup-unknown`, `cluster-busy`, and as `Controller.start`. What can't be planned is an answer. */
  async restore(host: string, name: string, request: ByPerson<RestoreRequest>): Promise<RestoreAnswer> {
    const { controller, planning, records, catalogue } = this.#parts;
    const { version, takenAt, verifiedAt, prunedAt, copies } = await records.backup(host, name);
    const { fleet, profile, facts } = await planning.known();
    const [releases, aside] = await Promise.all([catalogue(profile.product), records.quarantined()]);
    const result = planRestore({
      backup: {
        ...{ host, backup: name, version, takenAt, copy: wholeCopy(copies) },
        ...{ verified: verifiedAt !== null, pruned: prunedAt !== null },
      },
      safetyBackup: request.safetyBackup ?? true,
      fleet,
      profile,
      catalogue: releases,
      facts,
      // Whoever restores a host wants just that, whatever it was set aside for.
      quarantine: aside.filter((one) => one.host !== host).map(({ host: other, reason }) => ({ host: other, reason })),
      acceptRisks: (request.acceptRisks ?? []).map((risk) => ({ ...risk, by: request.by })),
    });
    const plan = await planning.keep(result, fleet, facts, request.by);
    if (!plan.ok || request.planOnly === true) return { plan, run: null };
    const { by, reason } = request;
    const runner = await controller.start({ plan: plan.plan.id, by, ...(reason === undefined ? {} : { reason }) });
    return { plan, run: runner.run };
  }
}
