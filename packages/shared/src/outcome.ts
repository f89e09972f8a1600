import Type, { type Static } from "typebox";
import { ErrorInfo } from "./error.js";

/**
 * How a step ended. Outcomes are values: the agent says what happened, the controller's policy decides what it means.
 * - `done`: the effect is there and was checked. `changed` false: it was there already, nothing was touched.
 * - `failed`: the effect is not there. `retryable`: trying the same again may help (network, busy), else a person must look.
 * - `reverted`: the effect was there, did not hold, and the agent undid it; the host is as it was before.
 * - `unknown`: nobody can say. Never counted as success (I7). Only the controller makes these up, when an agent is lost.
 */
export const Outcome = Type.Union([
  Type.Object(
    { status: Type.Literal("done"), changed: Type.Boolean(), result: Type.Optional(Type.Unknown()) },
    { additionalProperties: false },
  ),
  Type.Object(
    { status: Type.Literal("failed"), retryable: Type.Boolean(), error: ErrorInfo },
    { additionalProperties: false },
  ),
  Type.Object({ status: Type.Literal("reverted"), error: ErrorInfo }, { additionalProperties: false }),
  Type.Object({ status: Type.Literal("unknown"), error: ErrorInfo }, { additionalProperties: false }),
]);
export type Outcome = Static<typeof Outcome>;

export function done(changed: boolean, result?: unknown): Outcome {
  return result === undefined ? { status: "done", changed } : { status: "done", changed, result };
}

export function failed(error: ErrorInfo, retryable = false): Outcome {
  return { status: "failed", retryable, error };
}

export function reverted(error: ErrorInfo): Outcome {
  return { status: "reverted", error };
}

export function unknownOutcome(error: ErrorInfo): Outcome {
  return { status: "unknown", error };
}
