import {
  type AllowedSigner,
  BelayError,
  GATE_NAMESPACE,
  isNameOf,
  parseStatement,
  type SignedStatement,
  signerOf,
  verifySignature,
} from "@belay/shared";
import type { Plan } from "../plan/plan.js";
import type { SignedApproval } from "../run/event.js";

/**
 * Looks at what an approver sends before it is recorded: is it of this plan, run and gate, does it count now, did its key sign
 * it, and is that the key of whoever sends it, `by` (`signers` null: belayd knows of nobody's, and the hosts judge)? What is on
 * record as one person's word must not be another's. Hosts check all but that again. Throws `statement-malformed`, `approval-...`, `signature-invalid`, `ssh-...`, `plan-unsigned`.
 */
export function checkSigned(
  signed: SignedStatement,
  { plan, run, gate, by }: { readonly plan: Plan; readonly run: string; readonly gate: string; readonly by: string },
  signers: readonly AllowedSigner[] | null,
  now: number,
): SignedApproval {
  const { approvals } = plan;
  if (approvals === undefined) {
    throw new BelayError("plan-unsigned", "this plan has nothing to sign: its fleet records approvals", {
      hint: "Approve without --sign; policy.approvals in fleet.yaml asks for signatures, for plans made from then on.",
    });
  }
  const statement = parseStatement(signed.statement);
  const expected = { fleet: plan.fleet, plan: plan.id, root: approvals.root, leaves: approvals.leaves, run, gate };
  for (const [name, value] of Object.entries(expected)) {
    const said = statement[name as keyof typeof expected];
    if (said === value) continue;
    const code = `approval-wrong-${name === "root" || name === "leaves" ? "plan" : name}`;
    throw new BelayError(code, `what was signed is of ${name} ${said}, not of ${value}`);
  }
  if (statement.expires <= now) throw new BelayError("approval-expired", "what was signed does not count any more");
  const key = verifySignature(signed.statement, signed.signature, GATE_NAMESPACE);
  const approval = { ...signed, key: key.fingerprint };
  if (signers === null) return approval;
  const found = signerOf(signers, key, GATE_NAMESPACE, now);
  if ("signer" in found) {
    if (isNameOf(found.signer, by)) return { ...approval, signer: found.signer };
    throw new BelayError("approval-not-yours", `this is the signature of ${found.signer}, and ${by} sends it`, {
      hint: `Where both are one person, add the name to the line in belayd's list of approvers: "${found.signer},${by} ...".`,
    });
  }
  throw new BelayError("approval-unknown-signer", `${key.fingerprint} is none of the approvers that belayd knows of`, {
    hint: "`approvers` in belayd.yaml names the file; the hosts have their own.",
  });
}
