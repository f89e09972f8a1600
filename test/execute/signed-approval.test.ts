import { checkSigned } from "@belay/controller/execute/signed-approval";
import { BelayError, parseAllowedSigners } from "@belay/shared";
import t from "tap";
import { ApprovedPlan, newApprover } from "../support/approved.js";
import { nodesPlan } from "../support/plans.js";

const RUN = "20261124-220000-abcd0123ef";
const [maria, tom] = [newApprover("maria"), newApprover("tom")];
const approved = new ApprovedPlan(RUN, [{ host: "node-1", op: { kind: "noop" } }]);
const approvals = { root: approved.tree.root.toString("hex"), leaves: approved.tree.size };
const plan = nodesPlan([["node-1"]], {}, { id: approved.plan, approvals });

function outcome(by: string, signers: string | null, signed = approved.sign(maria)): string {
  const known = signers === null ? null : parseAllowedSigners(signers, "approvers");
  try {
    const where = { plan, run: RUN, gate: "hop-1.main.node", by };
    return checkSigned(signed, where, known, Date.now()).signer ?? "whoever";
  } catch (error) {
    if (error instanceof BelayError) return error.code;
    throw error;
  }
}

t.test("what is on record as one person's word is their own signature", async (t) => {
  const both = `${maria.line}\n${tom.line}\n`;
  t.equal(outcome("maria", both), "maria");
  t.equal(outcome("tom", both), "approval-not-yours", "tom can't spend what maria signed");
  t.equal(outcome("mar", both), "approval-not-yours", "a name is whole");
  const named = `m.r@corp.example,${maria.line.replace("maria", "Maria")}\n`;
  t.equal(outcome("maria", named), "m.r@corp.example,maria", "whoever has several names has them all on the line");
  t.equal(outcome("m.r@corp.example", named), "m.r@corp.example,maria");
  t.equal(outcome("tom", null), "whoever", "where belayd knows of nobody's key, hosts judge");
  t.equal(outcome("maria", `${tom.line}\n`), "approval-unknown-signer");
});
