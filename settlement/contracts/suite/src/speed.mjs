// What makes a mutation run bearable: signatures by node's own code, which gives the same bytes, and a compiler that is not compiled anew each time.
import { createPrivateKey, sign } from 'node:crypto';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
/// The library that `@ton/crypto` signs with.
const nacl = createRequire(require.resolve('@ton/crypto'))('tweetnacl');
/// What stands before the seed in the form that node reads keys in (RFC 8410).
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

const keys = new Map();

function keyOf(secretKey) {
  const name = Buffer.from(secretKey).toString('hex');
  if (!keys.has(name)) keys.set(name, createPrivateKey({ key: Buffer.concat([PKCS8, secretKey.subarray(0, 32)]), format: 'der', type: 'pkcs8' }));
  return keys.get(name);
}

function remembered(of) {
  const known = new Map();
  return (bytes) => {
    const name = Buffer.from(bytes).toString('hex');
    if (!known.has(name)) known.set(name, of(bytes));
    return known.get(name);
  };
}

export function hurry() {
  nacl.sign.detached = (message, secretKey) => sign(null, message, keyOf(secretKey));
  nacl.sign.keyPair.fromSeed = remembered(nacl.sign.keyPair.fromSeed);
  const modules = new Map();
  const instantiate = WebAssembly.instantiate;
  WebAssembly.instantiate = async (source, imports) => {
    if (source instanceof WebAssembly.Module) return instantiate(source, imports);
    if (!modules.has(source.byteLength)) modules.set(source.byteLength, await WebAssembly.compile(source));
    const module = modules.get(source.byteLength);
    return { module, instance: await instantiate(module, imports) };
  };
}
