import { BelayError } from "@belay/shared";
import type { Perform } from "./op.js";

export const upgradeAgent: Perform<"upgrade-agent"> = async () => {
  throw new BelayError("self-unsupervised", "nobody would start this agent again", {
    hint: "say in agent.yaml, under `self`, who supervises the agent",
  });
};
