import { done } from "@belay/shared";
import { factsOf } from "../facts/snapshot.js";
import type { Perform } from "./op.js";

export const facts: Perform<"facts"> = async (op, host, attempt) =>
  done(false, await factsOf(op.probe, host, attempt.signal));
