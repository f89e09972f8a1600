import type { AcceptedRisk } from "./input.js";
import type { Risk } from "./plan.js";

type Reason = Omit<Risk, "accepted">;

/**
 * Why planning stops, and what people should know, as it is found. Three strengths: `block` can't be accepted, `ask`
 * blocks unless a person accepted it by name (I11), `tell` is for reading. The same code and subject is kept once.
 */
export class Reasons {
  readonly #accepted: readonly AcceptedRisk[];
  readonly #used = new Set<AcceptedRisk>();
  readonly #blocked = new Map<string, Risk>();
  readonly #risks = new Map<string, Risk>();

  constructor(accepted: readonly AcceptedRisk[]) {
    this.#accepted = accepted;
  }

  block(reason: Reason): void {
    const acceptance = this.#find(reason);
    const hint =
      acceptance === undefined ? reason.hint : `This can't be accepted as a risk. ${reason.hint ?? ""}`.trim();
    this.#keep(this.#blocked, { ...reason, ...(hint === undefined ? {} : { hint }) });
  }

  /** Answers whether a person accepted it. */
  ask(reason: Reason): boolean {
    const acceptance = this.#find(reason);
    if (acceptance === undefined) {
      const how = `To go on regardless: --accept-risk ${reason.code}:${reason.subject}`;
      this.#keep(this.#blocked, { ...reason, hint: reason.hint === undefined ? how : `${reason.hint} ${how}` });
      return false;
    }
    this.#keep(this.#risks, { ...reason, accepted: { by: acceptance.by, why: acceptance.why } });
    return true;
  }

  tell(reason: Reason): void {
    const acceptance = this.#find(reason);
    const accepted = acceptance === undefined ? {} : { accepted: { by: acceptance.by, why: acceptance.why } };
    this.#keep(this.#risks, { ...reason, ...accepted });
  }

  /** To be called last: an acceptance of something that isn't there is a misunderstanding, so it blocks. */
  blockUnusedAcceptances(): void {
    for (const risk of this.#accepted) {
      if (this.#used.has(risk)) continue;
      this.#keep(this.#blocked, {
        code: "accepted-risk-unused",
        subject: `${risk.code}:${risk.subject}`,
        message: `the risk ${risk.code}:${risk.subject} was accepted, but this plan does not run it`,
        hint: "Plan again without accepting it, and look at what the plan does say.",
      });
    }
  }

  get blocked(): readonly Risk[] {
    return [...this.#blocked.values()];
  }

  get risks(): readonly Risk[] {
    return [...this.#risks.values()];
  }

  #find({ code, subject }: Reason): AcceptedRisk | undefined {
    const found = this.#accepted.filter((risk) => risk.code === code && bare(risk.subject) === bare(subject));
    for (const risk of found) this.#used.add(risk);
    return found[0];
  }

  #keep(into: Map<string, Risk>, risk: Risk): void {
    const key = `${risk.code}:${risk.subject}`;
    if (!into.has(key)) into.set(key, risk);
  }
}

/** `v7.1.0` and `7.1.0` are the same subject. */
function bare(subject: string): string {
  return subject.trim().replace(/^v(?=\d)/, "");
}

/** `a, b, c and 17 more`: names for a message that stays short in a fleet of ten thousand. */
export function listNames(names: readonly string[], limit = 5): string {
  const shown = names.slice(0, limit).join(", ");
  return names.length > limit ? `${shown} and ${names.length - limit} more` : shown;
}
