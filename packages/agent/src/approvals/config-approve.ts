import { resolve } from "node:path";
import type { Field } from "../field.js";

/** Whom this host's owner believes when somebody asks for a change. */
export type ApproveConfig =
  /** belayd: whoever holds its door, its keys or its database holds this host too. */
  | { by: "controller" }
  /** People, by signatures that belayd can't make. */
  | {
      by: "approvers";
      /** The fleet this host belongs to: what was signed for another one's host of the same name is worth nothing here. */
      fleet: string;
      /** An allowed_signers file; read anew for every step, so that a key taken out of it counts no more at once. */
      signers: string;
      /** How many different people must have signed. */
      threshold: number;
      /** No approval counts for longer than this, whatever it says itself. */
      maxAgeMs: number;
      /**
       * Programs that may be run with the one word `version` for anybody who asks: those of a host that Belay hasn't adopted
       * yet. The programs of versions may be, anyhow.
       */
      programs: readonly string[];
    };

const FIELDS = {
  controller: ["by"],
  approvers: ["by", "fleet", "signers", "threshold", "maxAge", "programs"],
} as const;
const DEFAULT_SIGNERS = "/etc/belay/approvers";
const HOUR_MS = 3_600_000;
const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: HOUR_MS, d: 24 * HOUR_MS };
/** The most that `maxAge` may be: nothing that was signed counts for longer anywhere. */
export const MAX_AGE_MS = 90 * 24 * HOUR_MS;

/** Reads `approve`. The signers are not the agent's own to keep. Throws `config-invalid`. */
export function approve(field: Field, stateDir: string): ApproveConfig {
  const by = field.member("by").oneOf(["controller", "approvers"] as const, "controller");
  field.members(FIELDS[by]);
  if (by === "controller") return { by };
  return {
    by,
    fleet: field.member("fleet").text(),
    signers: field.member("signers").pathOutside(stateDir, DEFAULT_SIGNERS),
    threshold: field.member("threshold").integer({ min: 1, max: 16, fallback: 1 }),
    maxAgeMs: age(field.member("maxAge")),
    programs: field
      .member("programs")
      .list()
      .map((each) => resolve(each.path())),
  };
}

function age(field: Field): number {
  const text = field.text("7d");
  const [, count, unit = ""] = /^([1-9][0-9]{0,4})([mhd])$/.exec(text) ?? [];
  const ms = Number(count) * (UNITS[unit] ?? Number.NaN);
  if (ms <= MAX_AGE_MS) return ms;
  throw field.bad(`must be a time such as 30m, 24h or 7d, at most 90d, not ${JSON.stringify(text)}`);
}
