import { BelayError } from "@belay/shared";
import type { OptionSpec } from "./command.js";

export interface RiskOptions {
  readonly acceptRisk?: readonly string[];
  readonly why?: string;
}

export const RISK_OPTIONS: readonly OptionSpec[] = [
  { flags: "--accept-risk <code:subject...>", about: "accept this risk by name (with --why)", list: true },
  { flags: "--why <text>", about: "why the risks are accepted; the plan records it" },
];

/** Risks as people name them, `CODE:SUBJECT` (I11). Throws `usage`. */
export function acceptedRisks({ acceptRisk = [], why }: RiskOptions): { code: string; subject: string; why: string }[] {
  return acceptRisk.map((risk) => {
    const [, code, subject] = /^([a-z-]+):(.+)$/.exec(risk) ?? [];
    if (code === undefined || subject === undefined) {
      throw new BelayError("usage", `--accept-risk ${risk}: a risk is named CODE:SUBJECT`, {
        hint: "belay plan prints risks that way, left-behind:db-7 for instance.",
      });
    }
    if (why === undefined || why.trim() === "") {
      throw new BelayError("usage", "a risk is accepted for a reason", { hint: "Say it: --why TEXT" });
    }
    return { code, subject, why };
  });
}
