import t from "tap";
import { ATTACKS, killAtEachCall, whyNoSyscallKills } from "./rig/syscalls.js";

/**
 * A real agent process swaps a real service, and strace kills it as it enters one of its system calls on the files of the
 * swap, counted from the record before the first effect to the one after the last. Its successor must end the step as if
 * nothing had been, with each version started once, and is the next victim. Here it is every `STRIDE`th call, for the time it
 * takes; `npm run power -- --syscalls` kills at each.
 */
const STRIDE = 2;
const patient = { timeout: 900_000, skip: whyNoSyscallKills() ?? false };

for (const attack of ATTACKS) {
  t.test(
    `killed at its system calls in ${attack.name}, an agent leaves nothing undone (I7, I10, I14)`,
    patient,
    async (t) => {
      const { calls, kills, complaints } = await killAtEachCall(attack, { stride: STRIDE });
      t.same(complaints, []);
      // Now and then one more or one less is made than was watched: the count must not have come to nothing.
      t.ok(kills >= Math.floor(calls / STRIDE) - 2, `killed ${kills} times in ${calls} calls`);
    },
  );
}
