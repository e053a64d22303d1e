// Breaks the contracts in one place at a time and asks the scripts whether they notice. `npm run mutants [texts in the mutants' names]`
//
// First of all every script has to pass over the contracts as they are, because one that does not would notice anything.
// A mutant that nothing notices is a rule that nothing holds; it ends this run with an error, unless `EQUIVALENT` says why it may. So does a
// reason for a mutant that the sources no longer make.
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CONTRACTS, compile, compileAll } from '../build.mjs';
import { asked, use } from './src/contract.mjs';
import { Scene } from './src/scene.mjs';
import { scripts } from './src/scripts.mjs';
import { hurry } from './src/speed.mjs';

const here = dirname(fileURLToPath(import.meta.url));
/// Sources, and the contracts that are made of them.
const AFFECTED = {
  provider: ['provider', 'rewards'],
  'provider-storage': ['provider', 'rewards'],
  'provider-rewards': ['provider', 'rewards'],
  vesting: ['provider', 'rewards'],
  vault: ['vault'],
  auction: ['vault'],
  rewards: ['rewards'],
  emission: ['rewards'],
  'jetton-wallet': ['jetton-wallet', 'jetton-minter', 'vault', 'governor', 'rewards'],
  'jetton-minter': ['jetton-minter'],
  jetton: ['jetton-wallet', 'jetton-minter', 'provider', 'vault', 'lock', 'governor', 'rewards'],
  'jetton-holder': ['jetton-minter', 'vault', 'governor', 'rewards'],
  account: ['channel', 'provider', 'jetton-wallet', 'jetton-minter', 'vault', 'lock', 'governor', 'registry', 'rewards'],
  locks: ['lock', 'governor'],
  lock: ['lock', 'governor'],
  governor: ['governor'],
  registry: ['registry'],
  groth16: ['registry', 'rewards'],
  pricing: CONTRACTS,
  channel: ['channel', 'provider', 'rewards'],
};
/// Where the scripts about a source are, if not in a file of its name alone.
const ABOUT = {
  lock: ['governor', 'votes'], locks: ['governor', 'votes'], governor: ['governor', 'votes'], groth16: ['registry'], rewards: ['payouts', 'rewards'],
  emission: ['payouts'], 'jetton-holder': ['auction'], vesting: ['payouts'], 'provider-rewards': ['payouts', 'rewards'], 'provider-storage': ['provider'],
  vault: ['vault', 'auction'], 'jetton-wallet': ['jetton', 'forged'], 'jetton-minter': ['jetton'],
};
/// `FILES` names fewer of them.
const FILES = process.env.FILES?.split(',') ?? ['channel', 'provider', 'vault', 'jetton', 'forged', 'batches', 'governor', 'registry', 'votes', 'auction',
  'payouts', 'rewards'];

/// Processes that try mutants.
const WORKERS = Number(process.env.WORKERS ?? availableParallelism());

/// Mutants that change nothing anybody could notice, by their names, and why.
export const EQUIVALENT = new Map([
  ...['const HALVINGS_MAX = 60 [plus one]', 'while ((halvings < HALVINGS_MAX) & (left <= (RESERVE >> (halvings + 1)))) { [< to <= at 20]'].map((its) => [
    `emission.tolk: ${its}`, 'the reserve is less than 2 to the 59th, so that a rate that was halved sixty times is nothing either way',
  ]),
  [
    'vault.tolk: val words = payload.remainingBitsCount() >= 32 ? payload.preloadUint(32) : 0; [>= to > at 44]',
    'an opcode with nothing behind it is neither a bid nor a credit',
  ],
  ['provider-rewards.tolk: if (oldest.isFound) { [always true]', 'an epoch was set right before, so that there is an oldest one'],
  ['governor.tolk: if (msg.beforeWeek > thisWeek) { [> to >= at 22]', 'a week that has begun weighs nothing, whatever it says'],
  [
    'governor.tolk: val tookPart = (cast > 0) & (cast * 10000 >= self.all * QUORUM_BPS); [> to >= at 24]',
    'all weigh at least what the proposer does, which is one unit at least',
  ],
  ...[34, 54].map((at) => [
    `groth16.tolk: assert ((x < FIELD_ORDER) & (y < FIELD_ORDER) & (z < FIELD_ORDER)) throw ERR_NOT_IN_FIELD; [< to <= at ${at}]`,
    'a registry draws y from 248 bits, and z is a remainder',
  ]),
  [
    'provider.tolk: keepExactly(st.liabilities(stake)); [left out]',
    'an order is accepted when operations carry the value of every claim, and neither a claim nor a fine for one takes more than its value',
  ],
]);

/// Ways to break a line: what is looked for, and what stands there instead.
const FLIPS = [
  [/ >= /g, ' > '], [/ > /g, ' >= '], [/ <= /g, ' < '], [/ < /g, ' <= '], [/ == /g, ' != '], [/ != /g, ' == '],
  [/ \+ /g, ' - '], [/ - /g, ' + '], [/ \* /g, ' + '], [/ \/ /g, ' + '], [/ \+= /g, ' -= '], [/ -= /g, ' += '], [/ & /g, ' | '],
  [/\bmin\(/g, 'max('], [/\bmax\(/g, 'min('],
];
/// Statements that are left out.
const STATEMENTS = /^\s*(assert \(.*\) throw \w+;|by\.assertPays\(.*\);|(st|stake|self)\.\w+ [-+]?= .*;|(st|self)\.(save|finishBatch|closeEpoch|accept)\(.*\);|keepExactly\(.*\);|sendExactly\(.*\);|sendFee\(.*\);|setGasLimit\(.*\);|commitContractDataAndActions\(\);|returnExcess\(.*\);|answer\(.*\);|refundAndClose\(.*\);|reserveToncoinsOnBalance\(.*\);|assert[A-Z]\w*\(.*\);|(its|auditors|self)\.\w+ = .*;|(st|self)\.\w+\.(set|delete)\(.*\);|(sendRest|giveRest|giveBack)\(.*\);|st\.(assert|tell)\w+\(.*\);|mode = .*;|return;)$/;
const CONDITION = /^(\s*(?:\} else )?if \()(.*)(\) \{)$/;
const CONSTANT = /^(const (?:\w*_RESERVE|GENESIS_VALUE|POKE_\w+) = ton\("[\d.]+"\)|const GENESIS_\w+ = .*|const (?:\w+_PERCENT|BATCH_MAX|\w+_BITS|\w+_CELLS|\w+_MAX|\w+_BPS) = \d+|const \w+_S = .*)$/;

function* mutantsOf(line) {
  const code = line.trimStart();
  if (code.startsWith('//') || code.startsWith('import') || code.startsWith('struct') || code.startsWith('fun ') || code.startsWith('@')) return;
  if (CONSTANT.test(line)) {
    yield [`${line} + 1`, 'plus one'];
    return;
  }
  if (STATEMENTS.test(line)) yield ['', 'left out'];
  const condition = CONDITION.exec(line);
  if (condition) {
    for (const value of ['true', 'false']) yield [`${condition[1]}(${condition[2]}) ${value === 'true' ? '|' : '&'} ${value}${condition[3]}`, `always ${value}`];
  }
  for (const [pattern, instead] of FLIPS) {
    for (const found of line.matchAll(pattern)) {
      yield [line.slice(0, found.index) + instead + line.slice(found.index + found[0].length), `${found[0].trim()} to ${instead.trim()} at ${found.index}`];
    }
  }
}

/// All mutants of a source: name, and the text that the source becomes.
function mutants(source) {
  const lines = readFileSync(join(here, '..', `${source}.tolk`), 'utf8').split('\n');
  return lines.flatMap((line, n) => [...mutantsOf(line)].map(([mutated, how]) => ({
    source,
    name: `${source}.tolk: ${line.trim()} [${how}]`,
    place: `${source}.tolk:${n + 1}`,
    text: lines.with(n, mutated).join('\n'),
  })));
}

/// A scene as it is set by these options, for all scripts that start from it; and the contracts whose code that takes.
async function sceneOf(scenes, options) {
  const name = JSON.stringify(options, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
  if (!scenes.has(name)) {
    asked.clear();
    const set = await Scene.set(options);
    scenes.set(name, { set, back: set.keep(), took: [...asked] });
  }
  const { set, back, took } = scenes.get(name);
  await back();
  return { set, took };
}

/// Runs a script. Returns the contracts whose code it took.
async function run({ options, body }, scenes) {
  const { set, took } = await sceneOf(scenes, options);
  asked.clear();
  await body(set);
  await set.finish();
  return [...new Set([...took, ...asked])];
}

/// For each source, the scripts in the order they are asked: those about it first, then whatever noticed something last.
const order = new Map();
/// Scripts, and of the contracts as they are: how long each takes, and whose code.
let known = [];

/// Runs every `of`th script over the contracts as they are.
async function tell(original, part, of) {
  use(original);
  const scenes = new Map();
  const told = [];
  for (let n = part; n < scripts.length; n += of) {
    const start = performance.now();
    try {
      const took = await run(scripts[n], scenes);
      told.push({ n, took, ms: performance.now() - start });
    } catch (error) {
      return { broken: `${scripts[n].name}: ${error.message}` };
    }
  }
  return { told };
}

/// What all were told of the scripts: the quickest about a source are asked first.
function learn(told) {
  known = told.sort((a, b) => a.ms - b.ms).map(({ n, took, ms }) => ({ ...scripts[n], took, ms }));
  for (const source of Object.keys(AFFECTED)) {
    const isAbout = ({ file }) => (ABOUT[source] ?? [source]).includes(file);
    order.set(source, [...known.filter(isAbout), ...known.filter((script) => !isAbout(script))]);
  }
}

/// The next mutant is likely a neighbour, which the same script notices; but one that takes long stays behind those that are much quicker.
function prefer(scripts, script) {
  scripts.splice(scripts.indexOf(script), 1);
  const before = scripts.findIndex(({ ms }) => ms * 8 >= script.ms);
  scripts.splice(before < 0 ? scripts.length : before, 0, script);
}

/// How a mutant fares: `unbuildable`, `same` (the compiler made the same code of it), `noticed` or `survived`.
async function fate({ source, text }, original) {
  const built = { ...original };
  try {
    for (const name of AFFECTED[source]) built[name] = await compile(name, built, (path, its) => (path === `${source}.tolk` ? text : its));
  } catch {
    return 'unbuildable';
  }
  const changed = Object.keys(built).filter((name) => built[name].hash !== original[name].hash);
  if (changed.length === 0) return 'same';
  use(built);
  const scenes = new Map();
  const scripts = order.get(source);
  // To a script that takes no code that changed, everything is as it was.
  for (const script of scripts.filter(({ took }) => took.some((name) => changed.includes(name)))) {
    try {
      await run(script, scenes);
    } catch {
      prefer(scripts, script);
      return 'noticed';
    }
  }
  return 'survived';
}

/// Does what it is told, one after the other, in this process.
async function work() {
  for (const file of FILES) {
    const before = scripts.length;
    await import(`./test/${file}.test.mjs`);
    for (const script of scripts.slice(before)) script.file = file;
  }
  hurry();
  const original = await compileAll();
  process.on('message', async ({ part, of, told, mutant }) => {
    if (told) learn(told);
    process.send(mutant ? { mutant, how: await fate(mutant, original) } : await tell(original, part, of));
  });
  process.send({ ready: true });
}

/// What a worker says next.
function answer(worker) {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error('a worker ended early'));
    worker.once('exit', ended);
    worker.once('message', (message) => {
      worker.off('exit', ended);
      resolve(message);
    });
  });
}

async function main(wanted) {
  const all = Object.keys(AFFECTED).flatMap(mutants);
  const gone = [...EQUIVALENT.keys()].filter((its) => !all.some(({ name }) => name === its));
  for (const its of gone) console.log(`There is no such mutant any more: ${its}`);
  const queue = all.filter(({ name }) => wanted.length === 0 || wanted.some((text) => name.includes(text)));
  const total = queue.length;
  const count = { unbuildable: 0, same: 0, noticed: 0, survived: 0 };
  let unexplained = 0;
  const answered = ({ mutant, how }) => {
    count[how] += 1;
    if (process.env.PROGRESS) console.error(`${total - queue.length} of ${total}: ${how}: ${mutant.place} ${mutant.name}`);
    if (how !== 'survived') return;
    const reason = EQUIVALENT.get(mutant.name);
    if (reason === undefined) unexplained += 1;
    console.log(`${mutant.place} ${mutant.name}${reason ? ` (may: ${reason})` : ''}`);
  };
  const workers = Array.from({ length: WORKERS }, () => fork(fileURLToPath(import.meta.url), { env: { ...process.env, MUTANTS: 'worker', BACKEND: 'sandbox' } }));
  const asTheyAre = await Promise.all(workers.map(async (worker, part) => {
    await answer(worker);
    worker.send({ part, of: WORKERS });
    return answer(worker);
  }));
  const broken = asTheyAre.find((its) => its.broken);
  if (broken) {
    for (const worker of workers) worker.disconnect();
    throw new Error(`mend this first: ${broken.broken}`);
  }
  const told = asTheyAre.flatMap((its) => its.told);
  await Promise.all(workers.map(async (worker) => {
    for (let mutant = queue.shift(), first = true; mutant; mutant = queue.shift(), first = false) {
      worker.send({ mutant, told: first ? told : undefined });
      answered(await answer(worker));
    }
    worker.disconnect();
  }));
  console.log(`${total} mutants: ${count.noticed} noticed, ${count.same} the same code, ${count.unbuildable} that do not compile, ${count.survived} survived`);
  process.exitCode = unexplained + gone.length > 0 ? 1 : 0;
}

await (process.env.MUTANTS ? work() : main(process.argv.slice(2)));
