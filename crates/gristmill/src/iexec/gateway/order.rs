//! The four kinds of orders as iExec's tools write them in JSON, and their EIP-712 hashes: pure.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{Eip712Domain, SolStruct, eip712_domain};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::iexec::Hub;

/// As the hub takes them, without the signature: what is signed. Sources of the spelling are the hub's own types.
mod typed {
    use serde::Deserialize;

    alloy::sol! {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct AppOrder {
            address app;
            uint256 appprice;
            uint256 volume;
            bytes32 tag;
            address datasetrestrict;
            address workerpoolrestrict;
            address requesterrestrict;
            bytes32 salt;
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct DatasetOrder {
            address dataset;
            uint256 datasetprice;
            uint256 volume;
            bytes32 tag;
            address apprestrict;
            address workerpoolrestrict;
            address requesterrestrict;
            bytes32 salt;
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct WorkerpoolOrder {
            address workerpool;
            uint256 workerpoolprice;
            uint256 volume;
            bytes32 tag;
            uint256 category;
            uint256 trust;
            address apprestrict;
            address datasetrestrict;
            address requesterrestrict;
            bytes32 salt;
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct RequestOrder {
            address app;
            uint256 appmaxprice;
            address dataset;
            uint256 datasetmaxprice;
            address workerpool;
            uint256 workerpoolmaxprice;
            address requester;
            uint256 volume;
            bytes32 tag;
            uint256 category;
            uint256 trust;
            address beneficiary;
            address callback;
            string params;
            bytes32 salt;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    App,
    Dataset,
    Workerpool,
    Request,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::App, Self::Dataset, Self::Workerpool, Self::Request];

    /// The path of its orders.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::App => "apporders",
            Self::Dataset => "datasetorders",
            Self::Workerpool => "workerpoolorders",
            Self::Request => "requestorders",
        }
    }

    /// The field that says whose orders they are.
    pub(super) fn subject(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Dataset => "dataset",
            Self::Workerpool => "workerpool",
            Self::Request => "requester",
        }
    }

    pub(super) fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.path() == path)
    }
}

/// An order that is well formed. Whether its signature is good, the chain says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    pub(super) kind: Kind,
    pub(super) hash: B256,
    pub(super) sign: Bytes,
    pub(super) terms: Terms,
    /// As it is handed out again: amounts in decimal.
    pub(super) json: Map<String, Value>,
}

/// What orders of all kinds are found by. A restriction stands where another kind names its subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) app: Address,
    pub(super) dataset: Address,
    pub(super) workerpool: Address,
    pub(super) requester: Address,
    pub(super) beneficiary: Address,
    pub(super) price: U256,
    pub(super) volume: U256,
    pub(super) tag: B256,
    pub(super) category: U256,
    pub(super) trust: U256,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OrderError {
    #[error("the order is malformed: {0}")]
    Malformed(String),
    #[error("the order has no volume")]
    NoVolume,
}

/// Every JSON reader keeps such numbers exact.
const SAFE_NUMBER_MAX: u64 = (1 << 53) - 1;
const AMOUNTS: [&str; 9] = [
    "appprice",
    "datasetprice",
    "workerpoolprice",
    "appmaxprice",
    "datasetmaxprice",
    "workerpoolmaxprice",
    "volume",
    "category",
    "trust",
];

pub(super) fn domain(hub: &Hub) -> Eip712Domain {
    eip712_domain! { name: "iExecODB", version: "5.0.0", chain_id: hub.chain_id, verifying_contract: hub.hub, }
}

impl Order {
    pub(super) fn parse(kind: Kind, mut json: Map<String, Value>, domain: &Eip712Domain) -> Result<Self, OrderError> {
        for name in AMOUNTS {
            if let Some(value) = json.get_mut(name) {
                *value = decimal(name, value)?;
            }
        }
        let mut signed = json.clone();
        let sign = signed.remove("sign").unwrap_or_default();
        let sign: Bytes = read(sign)?;
        let signed = Value::Object(signed);
        let (hash, terms) = match kind {
            Kind::App => app(&read(signed)?, domain),
            Kind::Dataset => dataset(&read(signed)?, domain),
            Kind::Workerpool => workerpool(&read(signed)?, domain),
            Kind::Request => request(&read(signed)?, domain),
        };
        if terms.volume.is_zero() {
            return Err(OrderError::NoVolume);
        }
        Ok(Self { kind, hash, sign, terms, json })
    }

    /// The app, dataset or pool it sells, or who requests.
    pub(super) fn subject(&self) -> Address {
        match self.kind {
            Kind::App => self.terms.app,
            Kind::Dataset => self.terms.dataset,
            Kind::Workerpool => self.terms.workerpool,
            Kind::Request => self.terms.requester,
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, OrderError> {
    serde_json::from_value(value).map_err(|error| OrderError::Malformed(error.to_string()))
}

/// The tools send text or a number; both are read, and decimal is handed out.
fn decimal(name: &str, value: &Value) -> Result<Value, OrderError> {
    let number = match value {
        Value::String(text) => U256::from_str_radix(text, 10).ok(),
        Value::Number(number) => number.as_u64().map(U256::from),
        _ => None,
    };
    let number = number.ok_or_else(|| OrderError::Malformed(format!("`{name}` is no whole number")))?;
    Ok(match u64::try_from(number) {
        Ok(small) if small <= SAFE_NUMBER_MAX => small.into(),
        _ => number.to_string().into(),
    })
}

fn app(order: &typed::AppOrder, domain: &Eip712Domain) -> (B256, Terms) {
    let hash = order.eip712_signing_hash(domain);
    let terms = Terms {
        app: order.app,
        dataset: order.datasetrestrict,
        workerpool: order.workerpoolrestrict,
        requester: order.requesterrestrict,
        price: order.appprice,
        volume: order.volume,
        tag: order.tag,
        ..Terms::default()
    };
    (hash, terms)
}

fn dataset(order: &typed::DatasetOrder, domain: &Eip712Domain) -> (B256, Terms) {
    let hash = order.eip712_signing_hash(domain);
    let terms = Terms {
        app: order.apprestrict,
        dataset: order.dataset,
        workerpool: order.workerpoolrestrict,
        requester: order.requesterrestrict,
        price: order.datasetprice,
        volume: order.volume,
        tag: order.tag,
        ..Terms::default()
    };
    (hash, terms)
}

fn workerpool(order: &typed::WorkerpoolOrder, domain: &Eip712Domain) -> (B256, Terms) {
    let hash = order.eip712_signing_hash(domain);
    let terms = Terms {
        app: order.apprestrict,
        dataset: order.datasetrestrict,
        workerpool: order.workerpool,
        requester: order.requesterrestrict,
        price: order.workerpoolprice,
        volume: order.volume,
        tag: order.tag,
        category: order.category,
        trust: order.trust,
        ..Terms::default()
    };
    (hash, terms)
}

fn request(order: &typed::RequestOrder, domain: &Eip712Domain) -> (B256, Terms) {
    let hash = order.eip712_signing_hash(domain);
    let terms = Terms {
        app: order.app,
        dataset: order.dataset,
        workerpool: order.workerpool,
        requester: order.requester,
        beneficiary: order.beneficiary,
        price: order.workerpoolmaxprice,
        volume: order.volume,
        tag: order.tag,
        category: order.category,
        trust: order.trust,
    };
    (hash, terms)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn hub() -> Hub {
        Hub {
            chain_id: 31_337,
            token: Address::repeat_byte(1),
            hub: Address::repeat_byte(2),
            hub_block: 0,
            appregistry: Address::repeat_byte(3),
            datasetregistry: Address::repeat_byte(4),
            workerpoolregistry: Address::repeat_byte(5),
            workerpool: Address::repeat_byte(6),
        }
    }

    pub(in super::super) fn app_order(price: u64, tweak: impl FnOnce(&mut Map<String, Value>)) -> Map<String, Value> {
        let zero = Address::ZERO;
        let order = json!({
            "app": Address::repeat_byte(0xaa), "appprice": price.to_string(), "volume": "5", "tag": B256::ZERO,
            "datasetrestrict": zero, "workerpoolrestrict": zero, "requesterrestrict": zero,
            "salt": B256::repeat_byte(9), "sign": "0x1234",
        });
        let Value::Object(mut order) = order else { unreachable!("written above") };
        tweak(&mut order);
        order
    }

    fn parse(order: Map<String, Value>) -> Result<Order, OrderError> {
        Order::parse(Kind::App, order, &domain(&hub()))
    }

    #[test]
    fn an_order_has_the_hash_that_ethers_computes() {
        let order = parse(app_order(7, |_| {})).unwrap();
        assert_eq!(format!("{:#x}", order.hash), "0x02dd8c174097d0bbb73dcb410196633e0534d8aad371a1ce4104398da327b28d");
    }

    #[test]
    fn amounts_may_be_text_or_numbers() {
        let one = parse(app_order(7, |_| {})).unwrap();
        let other = parse(app_order(0, |order| drop(order.insert("appprice".into(), 7.into())))).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.json["appprice"], 7);
        let large = "123456789012345678901234567890";
        let large = parse(app_order(0, |order| drop(order.insert("appprice".into(), large.into())))).unwrap();
        assert_eq!(large.json["appprice"], "123456789012345678901234567890");
    }

    #[test]
    fn what_is_no_order_is_refused() {
        type Tweak = fn(&mut Map<String, Value>);
        let bad: [Tweak; 7] = [
            |order| drop(order.remove("app")),
            |order| drop(order.remove("sign")),
            |order| drop(order.insert("appprice".into(), "-1".into())),
            |order| drop(order.insert("appprice".into(), 1.5.into())),
            |order| drop(order.insert("app".into(), "0x12".into())),
            |order| drop(order.insert("surplus".into(), 1.into())),
            |order| drop(order.insert("tag".into(), "0x00".into())),
        ];
        for tweak in bad {
            assert!(matches!(parse(app_order(1, tweak)), Err(OrderError::Malformed(_))));
        }
        let nothing = parse(app_order(1, |order| drop(order.insert("volume".into(), 0.into()))));
        assert_eq!(nothing, Err(OrderError::NoVolume));
    }
}
