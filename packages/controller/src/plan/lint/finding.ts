/** Which rule a plan breaks: an invariant of the design, or `shape` where the plan contradicts itself or the fleet. */
export type Rule = "I1" | "I2" | "I3" | "I4" | "I5" | "I6" | "I11" | "shape";

/** One thing that a plan gets wrong. `where` is a stage, a hop or `plan`; `subject` a host, a cluster, a version. */
export interface Finding {
  readonly invariant: Rule;
  readonly where: string;
  readonly subject: string;
  readonly message: string;
}

/** A plan that is wrong everywhere is wrong enough: more findings than this help nobody. */
const MAX_FINDINGS = 1000;

/** Collects findings: the same rule, place and subject once. */
export class Findings {
  readonly #found = new Map<string, Finding>();

  add(invariant: Rule, where: string, subject: string, message: string): void {
    const key = `${invariant} ${where} ${subject}`;
    if (this.#found.size < MAX_FINDINGS && !this.#found.has(key)) {
      this.#found.set(key, { invariant, where, subject, message });
    }
  }

  get all(): readonly Finding[] {
    return [...this.#found.values()];
  }
}
