import { done } from "@belay/shared";
import type { Perform } from "./op.js";

export const noop: Perform<"noop"> = async () => done(false);
