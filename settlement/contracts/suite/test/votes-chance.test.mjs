// Votes by chance: what people do, in an order that nobody planned. `SEED` names another course of events, `STEPS` a longer one.
import assert from 'node:assert/strict';
import { toNano } from '@ton/core';
import { actions } from '../src/governor.mjs';
import { COCOON } from '../src/jetton.mjs';
import { Random } from '../src/random.mjs';
import { DAY } from '../src/scene.mjs';
import { scene } from '../src/scripts.mjs';
import { DELAY, VOTE, Votes } from '../src/votes.mjs';

const ANY = actions.standards(Buffer.alloc(32, 7));

const SEEDS = process.env.SEED ? [process.env.SEED] : ['one', 'two'];
const STEPS = Number(process.env.STEPS ?? 50);

for (const seed of SEEDS) {
  scene(`whoever does what when: nobody votes twice, and nothing is carried out that did not pass (seed ${seed})`, async (set) => {
    const random = new Random(seed);
    const votes = await Votes.made(set);
    const people = ['owner', 'stranger', 'dispute'];
    const [voted, done] = [new Set(), new Set()];
    const carried = new Map();
    const send = (person, body) => set[person].call(votes.lockOf(person).address, toNano('0.3'), body);
    const number = () => random.below(Math.max(carried.size, 1));
    const steps = {
      lock: async (person) => votes.lock(person, random.amount(50), votes.week(random.below(107))),
      lengthen: async (person) => send(person, votes.lockOf(person).lengthen(votes.week(random.below(107)))),
      unlock: async (person) => send(person, votes.lockOf(person).unlock()),
      propose: async (person) => {
        const action = random.pick([actions.parameter(random.below(8), random.amount(32)), actions.spendCocoon(set.owner.address, random.amount(53)), ANY]);
        const { next } = await votes.state();
        await send(person, votes.lockOf(person).propose(action));
        if ((await votes.state()).next > next) carried.set(Number(next), action);
      },
      vote: async (person) => {
        const which = number();
        const sent = await send(person, votes.lockOf(person).vote(which, random.chance(80)));
        if (set.at(votes.governor, sent) !== 'done') return;
        assert.ok(!voted.has(`${which} ${person}`), 'voted twice');
        voted.add(`${which} ${person}`);
      },
      execute: async () => {
        const which = number();
        const its = await votes.proposal(which);
        const sent = await set.stranger.call(votes.governor.address, toNano('0.3'), votes.governor.execute(which, carried.get(which) ?? ANY));
        if (set.at(votes.governor, sent) !== 'done') return;
        assert.ok(its.yes > its.no && (its.yes + its.no) * 10_000n >= its.all * 3_300n, 'it did not pass');
        assert.ok(votes.now >= its.proposed + DELAY + VOTE + (its.weight === 0 ? 2 : 7) * DAY, 'before its time');
        assert.ok(!done.has(which), 'twice');
        done.add(which);
      },
    };
    const names = ['lock', 'lock', 'lengthen', 'unlock', 'propose', 'propose', 'vote', 'vote', 'vote', 'vote', 'vote', 'execute', 'execute', 'execute'];
    for (const person of people) await votes.lock(person, 1_000n * COCOON, votes.week(40 + random.below(60)));
    for (let step = 0; step < STEPS; step += 1) {
      const what = random.pick(names);
      // What was asked for, and what there is, may be too little, too late or too much: that is refused, and nothing else happens.
      const person = random.pick(people);
      if (what === 'lock' && (await votes.cocoon.balance(person)) < 1n << 50n) continue;
      await steps[what](person);
      if (step % 5 === 4) {
        for (const which of carried.keys()) {
          const its = await votes.proposal(which);
          if (its) assert.ok(its.yes + its.no <= its.all, 'more votes than weight');
        }
        await votes.audit();
      }
      await set.chain.passTime(random.pick([0, 1, 3_600, DAY, 2 * DAY, 4 * DAY]));
    }
    assert.ok(voted.size > 0 && carried.size > 0, 'nothing happened');
  }, { stake: null });
}
