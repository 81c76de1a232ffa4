use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// A list of networks, such as that of the proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads texts: networks, single addresses, and the words `private` (loopback, private and
    /// link-local addresses) and `any`. `None` if one is something else.
    pub(super) fn parse(texts: &[String]) -> Option<Self> {
        let mut networks = Vec::new();
        for text in texts {
            match text.as_str() {
                PRIVATE => networks.extend(parse_all(&PRIVATE_NETWORKS)),
                ANY => networks.extend(parse_all(&["0.0.0.0/0", "::/0"])),
                text => networks.push(parse_one(text)?),
            }
        }
        Some(Self(networks))
    }

    /// Whether the address is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = impl fmt::Display> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn parse_one(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(address).map(|network| network.trunc())
}

fn parse_all(texts: &'static [&'static str]) -> impl Iterator<Item = IpNet> {
    texts.iter().filter_map(|text| text.parse().ok())
}

/// The word for [`PRIVATE_NETWORKS`].
pub(super) const PRIVATE: &str = "private";
const ANY: &str = "any";

/// Addresses that no other than one's own networks use (RFC 6890).
const PRIVATE_NETWORKS: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Option<Networks> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Networks::parse(&texts)
    }

    #[test]
    fn networks_addresses_and_words() {
        let given = networks(&["10.1.2.3/8", "192.0.2.7", "2001:db8::/32"]).unwrap();
        for inside in ["10.255.0.1", "192.0.2.7", "2001:db8::1"] {
            assert!(given.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "::1"] {
            assert!(!given.contain(outside.parse().unwrap()), "{outside}");
        }
        let shown: Vec<String> = given.iter().map(|network| network.to_string()).collect();
        assert_eq!(shown, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
        assert_eq!(networks(&["private"]).unwrap().iter().count(), 8);
        assert!(networks(&["any"]).unwrap().contain("8.8.8.8".parse().unwrap()));
        assert!(networks(&["any"]).unwrap().contain("2606::1".parse().unwrap()));
        assert_eq!(networks(&["10.0.0.0/33"]), None);
        assert_eq!(networks(&["proxy.example"]), None);
    }
}
