/** Wallets of the browser (EIP-6963, with the older window.ethereum as a fallback), and the play-money wallet. */
import { type Address, createClient, custom, type EIP1193Provider, getAddress, http, numberToHex } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import type { Hex } from "../bytes";
import { keepNote, keptNote } from "../keep";
import type { ChainInfo } from "../pool";
import { explain, isChainUnknown, Problem } from "../problem";
import { chainOf, type Node, type SigningNode } from "./node";

/** A wallet that could be connected. */
export interface WalletOffer {
  /** Stays the same from visit to visit. */
  id: string;
  name: string;
  /** A data: URI. */
  icon: string | null;
  provider: EIP1193Provider | null;
}

/** A wallet that is connected. */
export interface Wallet {
  offer: WalletOffer;
  address: Address;
  chainId: number;
  /** Signs and sends. */
  signer: SigningNode;
  /** Reads through the wallet's own node where it has one. */
  reader: Node;
}

export const DEMO_ID = "demo";
const FALLBACK_ID = "window.ethereum";
const ICON_BYTES_MAX = 100_000;

declare global {
  interface Window {
    ethereum?: EIP1193Provider;
  }
}

interface Announcement {
  info: { uuid: string; name: string; icon: string; rdns: string };
  provider: EIP1193Provider;
}

/** Calls back with the whole list whenever it grows. */
export function discoverWallets(onFound: (offers: WalletOffer[]) => void): void {
  const found = new Map<string, WalletOffer>();
  window.addEventListener("eip6963:announceProvider", (event) => {
    const { info, provider } = (event as CustomEvent<Announcement>).detail;
    if (typeof info?.rdns !== "string" || typeof provider?.request !== "function") return;
    const icon = /^data:image\//.test(info.icon) && info.icon.length < ICON_BYTES_MAX ? info.icon : null;
    found.set(info.rdns, { id: info.rdns, name: info.name, icon, provider });
    found.delete(FALLBACK_ID);
    onFound([...found.values()]);
  });
  window.dispatchEvent(new Event("eip6963:requestProvider"));

  const fallBack = () => {
    if (found.size > 0 || !window.ethereum) return;
    found.set(FALLBACK_ID, { id: FALLBACK_ID, name: "Browser wallet", icon: null, provider: window.ethereum });
    onFound([...found.values()]);
  };
  fallBack();
  window.addEventListener("ethereum#initialized", fallBack, { once: true });
}

/** The demo wallet is offered where the chain itself says that its money is not real. */
export const demoOffer: WalletOffer = { id: DEMO_ID, name: "Demo wallet (play money)", icon: null, provider: null };

/** Asks the user, unless `silently`: then null if the wallet has not been connected before. */
export async function connectWallet(info: ChainInfo, offer: WalletOffer, silently = false): Promise<Wallet | null> {
  if (!offer.provider) return demoWallet(info);
  const method = silently ? "eth_accounts" : "eth_requestAccounts";
  const accounts = await offer.provider.request({ method });
  const account = accounts[0];
  if (!account) {
    if (silently) return null;
    throw new Problem(
      "The wallet could not be connected.",
      "It showed no account.",
      "Unlock it, allow this page, and try again.",
    );
  }
  const chainId = Number(await offer.provider.request({ method: "eth_chainId" }));
  return injectedWallet(info, offer, offer.provider, getAddress(account), chainId);
}

function injectedWallet(
  info: ChainInfo,
  offer: WalletOffer,
  provider: EIP1193Provider,
  address: Address,
  chainId: number,
): Wallet {
  const chain = chainOf(info);
  const transport = custom(provider, { retryCount: 0 });
  const signer = createClient({ account: address, chain, transport });
  return { offer, address, chainId, signer, reader: createClient({ chain, transport }) };
}

/** A key of this browser alone, worth nothing, so that a newcomer needs no extension. */
function demoWallet(info: ChainInfo): Wallet {
  const note = `demo-key/${info.chainId}`;
  const key = (keptNote(note) as Hex | null) ?? generatePrivateKey();
  keepNote(note, key);
  const account = privateKeyToAccount(key);
  const chain = chainOf(info);
  const transport = http(info.rpcUrl);
  const signer = createClient({ account, chain, transport, pollingInterval: 1_000 });
  return {
    offer: demoOffer,
    address: account.address,
    chainId: info.chainId,
    signer,
    reader: createClient({ chain, transport }),
  };
}

/** Follows what the user does inside the wallet: another account, another chain, disconnecting this page. */
export function followWallet(info: ChainInfo, wallet: Wallet, onChange: (wallet: Wallet | null) => void): () => void {
  const { offer, chainId } = wallet;
  const { provider } = offer;
  if (!provider) return () => {};
  let current = { address: wallet.address, chainId };
  const update = (change: Partial<typeof current>) => {
    current = { ...current, ...change };
    onChange(injectedWallet(info, offer, provider, current.address, current.chainId));
  };
  const accountsChanged = (accounts: Address[]) =>
    accounts[0] ? update({ address: getAddress(accounts[0]) }) : onChange(null);
  const chainChanged = (id: string) => update({ chainId: Number(id) });
  provider.on?.("accountsChanged", accountsChanged);
  provider.on?.("chainChanged", chainChanged);
  return () => {
    provider.removeListener?.("accountsChanged", accountsChanged);
    provider.removeListener?.("chainChanged", chainChanged);
  };
}

/** Asks the wallet to switch, and to learn the chain if it does not know it. */
export async function switchChain(info: ChainInfo, wallet: Wallet): Promise<Wallet> {
  const { provider } = wallet.offer;
  if (!provider) return wallet;
  const chain = chainOf(info);
  const chainId = numberToHex(info.chainId);
  try {
    await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
  } catch (error) {
    if (!isChainUnknown(error)) throw explain(error, "The wallet did not switch to the shop's chain.");
    const { name: chainName, nativeCurrency } = chain;
    const added = { chainId, chainName, nativeCurrency, rpcUrls: [info.rpcUrl] };
    await provider.request({ method: "wallet_addEthereumChain", params: [added] });
    await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
  }
  const now = Number(await provider.request({ method: "eth_chainId" }));
  return injectedWallet(info, wallet.offer, provider, wallet.address, now);
}
