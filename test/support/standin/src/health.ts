/** What a component says of itself, worst last but one: one degraded component degrades the process. */
export type Condition = "ok" | "starting" | "recovering" | "degraded";

const STATUS_CODE: Record<Condition, number> = { ok: 200, starting: 400, recovering: 400, degraded: 503 };
const WORST_FIRST: readonly Condition[] = ["degraded", "starting", "recovering", "ok"];

export interface Readiness {
  readonly code: number;
  readonly body: { readonly status: Condition; readonly why: readonly string[] };
}

/** The state behind `/readyz`: what every component of this process says, and the worst of it. */
export class Health {
  readonly #components = new Map<string, { condition: Condition; why: string }>();
  readonly #log: (line: string) => void;

  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  /** Idempotent; logs only what is new. */
  set(component: string, condition: Condition, why = ""): void {
    const before = this.#components.get(component);
    if (before?.condition === condition && before.why === why) return;
    this.#components.set(component, { condition, why });
    this.#log(`[${component}] ${condition}${why === "" ? "" : `: ${why}`}`);
  }

  of(component: string): Condition | undefined {
    return this.#components.get(component)?.condition;
  }

  /** Why a component is not ok; null: it is. */
  whyNot(component: string): string | null {
    const said = this.#components.get(component);
    if (said?.condition === "ok") return null;
    return said?.why || (said?.condition ?? "not started");
  }

  readiness(): Readiness {
    const said = [...this.#components.values()];
    const status = WORST_FIRST.find((condition) => said.some((one) => one.condition === condition)) ?? "starting";
    const why = said.filter((one) => one.why !== "" && one.condition !== "ok").map((one) => one.why);
    return { code: STATUS_CODE[status], body: { status, why } };
  }
}
