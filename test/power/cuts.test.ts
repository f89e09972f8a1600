import t from "tap";
import { FORGETTABLE } from "./rig/calls.js";
import { runCampaign, whyNoPowerCuts } from "./rig/campaign.js";
import { FILE_SYSTEMS } from "./rig/disk.js";

/**
 * Two hosts at a time are upgraded without end by the real agent (fetch, back up, swap to what works and to what doesn't,
 * with and without a snapshot, restore, prune), one of which was installed without Belay and is adopted again and again, on real file systems, whose power is cut before, during or after one of the
 * agent's calls, or at any time. After each cut, before anything else runs: the link leads to the old version or the new,
 * each name by which a service is started is a whole program with all that its owner gave it, each version, backup and database is whole by digests known elsewhere, the journal holds everything that it promised. Then
 * the agent goes on, and each step must end as it would have without the cut.
 *
 * `npm run power -- --cuts 100000` runs more of the same.
 */
const CUTS = 2_000;
const SEED = 1;
const patient = { timeout: 1_800_000, skip: whyNoPowerCuts() ?? false };

t.test(
  `${CUTS} power cuts lose nothing that was promised, and break nothing (I4, I7, I10, I14)`,
  patient,
  async (t) => {
    const { cuts, adoptions, complaints } = await runCampaign({ cuts: CUTS, seed: SEED, fileSystems: FILE_SYSTEMS });
    t.same(complaints, []);
    t.same(cuts, { ext4: CUTS / 2, xfs: CUTS / 2 });
    for (const fs of FILE_SYSTEMS)
      t.ok(adoptions[fs] > cuts[fs] / 5, `${adoptions[fs]} of them at an adoption on ${fs}`);
  },
);

t.test(
  "a rig that couldn't fail would prove nothing: each kind of fsync that is left out is noticed",
  patient,
  async (t) => {
    for (const forget of FORGETTABLE) {
      for (const fs of FILE_SYSTEMS) {
        const { complaints } = await runCampaign({ cuts: 100, seed: SEED, fileSystems: [fs], forget, stopAfter: 1 });
        const lost = complaints.filter(({ complaint = "" }) => !complaint.startsWith("nothing goes on"));
        t.not(lost.length, 0, `${forget} left out on ${fs}: ${lost[0]?.complaint}`);
      }
    }
  },
);
