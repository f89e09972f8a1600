import { BelayError, type SignedStatement } from "@belay/shared";
import { parseDuration } from "../../inventory/duration.js";
import type { Api } from "../api.js";
import type { Session } from "../session.js";
import { findKey, signWith } from "./key.js";
import { statementOf, textOf } from "./statement.js";
import { signingLines } from "./summary.js";

export interface SigningOptions {
  /** File of the key; undefined: the usual one. */
  readonly key: string | undefined;
  /** How long the approval counts. */
  readonly expires: string;
  /** Show every host's name. */
  readonly allHosts: boolean;
  /** Sign without asking. */
  readonly yes: boolean;
}

export const DEFAULT_EXPIRES = "24h";

/**
 * Fetches the plan of a run, shows what it really asks hosts for, asks, and signs. Null: the person would rather not. Throws
 * what `statementOf`, `findKey` and `signWith` throw, and `confirmation-missing` where nobody can be asked.
 */
export async function signGate(
  session: Session,
  api: Api,
  target: { readonly run: string; readonly gate: string },
  options: SigningOptions,
): Promise<SignedStatement | null> {
  const { outside } = session;
  const lifeMs = parseDuration(options.expires);
  if (lifeMs === null || lifeMs <= 0) {
    throw new BelayError("usage", `--expires takes a time such as 2h or 7d, not "${options.expires}"`);
  }
  const [key, { id: run, plan: id }] = await Promise.all([findKey(options.key, outside), api.run(target.run)]);
  const plan = await api.plan(id);
  const now = Math.round(outside.now());
  const statement = statementOf(plan, { run, gate: target.gate }, now, now + lifeMs);
  if (!session.json) {
    const look = { style: session.style, allHosts: options.allHosts };
    session.print([...signingLines(plan, statement, now, look), `key         ${key}`]);
  }
  if (!options.yes && !(await confirmed(session))) return null;
  const text = textOf(statement);
  return { statement: text, signature: await signWith(key, text, outside) };
}

async function confirmed({ outside, json }: Session): Promise<boolean> {
  if (!outside.canAsk || json) {
    throw new BelayError("confirmation-missing", "a gate is signed only when somebody says so", {
      hint: "--yes signs without asking, once somebody has read the plan.",
    });
  }
  const answer = await outside.ask("Sign this? [y/N] ", new AbortController().signal);
  return /^y(es)?$/i.test(answer?.trim() ?? "");
}
