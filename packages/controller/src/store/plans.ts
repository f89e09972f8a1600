import { BelayError } from "@belay/shared";
import type { PlanSummary } from "../api/contract.js";
import type { Plan, PlanKind } from "../plan/plan.js";
import type { Store } from "./sqlite.js";

/** Plans by id. They are content-addressed, so saving one twice is the same as once. */
export class PlanStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Idempotent. */
  async save(plan: Plan, by: string, at: number): Promise<void> {
    await this.#store.commits.write((tx) =>
      tx
        .insertInto("plans")
        .values({
          id: plan.id,
          kind: plan.kind,
          target: plan.to,
          hops: plan.hops.length,
          hosts: Object.keys(plan.hosts).length,
          created_at: at,
          created_by: by,
          body: JSON.stringify(plan),
        })
        .onConflict((conflict) => conflict.column("id").doNothing())
        .execute(),
    );
  }

  /** The plan whose id begins with `prefix`. Throws `plan-unknown` or `plan-ambiguous`. */
  async get(prefix: string): Promise<Plan> {
    if (!/^[0-9a-f]{4,64}$/.test(prefix)) {
      throw new BelayError("plan-unknown", `"${prefix}" is not a plan's id`, { hint: "`belay plan list` shows them." });
    }
    const rows = await this.#store.db
      .selectFrom("plans")
      .select("body")
      .where("id", ">=", prefix)
      .where("id", "<", `${prefix}g`)
      .limit(2)
      .execute();
    const [row, second] = rows;
    if (row === undefined) {
      throw new BelayError("plan-unknown", `no plan ${prefix}`, { hint: "`belay plan list` shows them." });
    }
    if (second !== undefined) {
      throw new BelayError("plan-ambiguous", `more than one plan begins with ${prefix}`, { hint: "Give more digits." });
    }
    return JSON.parse(row.body) as Plan;
  }

  async list(limit: number): Promise<PlanSummary[]> {
    const rows = await this.#store.db
      .selectFrom("plans")
      .select(["id", "kind", "target", "hops", "hosts", "created_at", "created_by"])
      .orderBy("created_at", "desc")
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      id: row.id,
      kind: row.kind as PlanKind,
      to: row.target,
      hops: row.hops,
      hosts: row.hosts,
      createdAt: row.created_at,
      createdBy: row.created_by,
    }));
  }
}
