//! A real LDAP server with a few people in it: Debian's slapd, on a free port.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use leveret_tests::eventually;
use leveret_tests::tls::{Authority, Wanted};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const SLAPD: &str = "/usr/sbin/slapd";

/// Who is there. Everybody's password is their name.
const PEOPLE: &str = "\
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: cn=Anna Karenina,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
cn: Anna Karenina
sn: Karenina
uid: anna
description: ^orders
description: ^amq\\.topic$
userPassword: anna

dn: cn=Bert,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
cn: Bert
sn: Bert
uid: bert
userPassword: bert

dn: cn=reader,dc=example,dc=com
objectClass: inetOrgPerson
cn: reader
sn: reader
userPassword: reader

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

dn: cn=admins,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: admins
member: cn=Anna Karenina,ou=people,dc=example,dc=com

dn: cn=staff,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: staff
member: cn=admins,ou=groups,dc=example,dc=com
member: cn=staff,ou=groups,dc=example,dc=com
";

/// The server.
pub(crate) struct Directory {
    process: Child,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    home: TempDir,
}

impl Directory {
    /// `None`, and a note, where there is no slapd.
    pub(crate) fn start() -> Option<Self> {
        if !Path::new(SLAPD).exists() {
            let is_required = std::env::var_os("LEVERET_REQUIRE_LDAP").is_some();
            assert!(!is_required, "{SLAPD} is not installed, and LEVERET_REQUIRE_LDAP is set");
            println!("skipped: {SLAPD} is not installed");
            return None;
        }
        let home = TempDir::with_prefix("leveret-ldap-").unwrap();
        let at = home.path().display();
        let authority = Authority::new("root");
        std::fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
        let wanted = Wanted { name: "localhost", hosts: &["localhost", "127.0.0.1"], days: 10 };
        let _ = authority.sign(&wanted).write(home.path(), "slapd");
        let config = format!(
            "include /etc/ldap/schema/core.schema\n\
             include /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\n\
             pidfile {at}/pid\n\
             modulepath /usr/lib/ldap\n\
             moduleload back_mdb\n\
             TLSCACertificateFile {at}/ca.pem\n\
             TLSCertificateFile {at}/slapd.pem\n\
             TLSCertificateKeyFile {at}/slapd.key\n\
             database mdb\n\
             maxsize 16777216\n\
             suffix \"dc=example,dc=com\"\n\
             directory {at}/data\n\
             access to attrs=userPassword by anonymous auth by self read by * none\n\
             access to * by users read by * none\n"
        );
        std::fs::create_dir(home.path().join("data")).unwrap();
        std::fs::write(home.path().join("slapd.conf"), config).unwrap();
        std::fs::write(home.path().join("people.ldif"), PEOPLE).unwrap();
        let filled = Command::new("/usr/sbin/slapadd")
            .args(["-f", "slapd.conf", "-l", "people.ldif"])
            .current_dir(home.path())
            .output()
            .unwrap();
        assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
        let [plain, tls] = free_addresses();
        let mut directory = Self { process: serve(home.path(), plain, tls), plain, tls, home };
        directory.await_ready();
        Some(directory)
    }

    /// The settings that have it asked, with more of `[auth_ldap]`, where `{home}` is where its files are.
    pub(crate) fn settings(&self, more: &str) -> String {
        let port = self.plain.port();
        format!(
            "[auth_ldap]\nservers = \"127.0.0.1\"\nport = {port}\n{}",
            more.replace("{home}", &self.home.path().display().to_string())
        )
    }

    /// An authority that has signed nothing of it.
    pub(crate) fn write_other_authority(&self) {
        std::fs::write(self.home.path().join("other.pem"), Authority::new("other").pem()).unwrap();
    }

    /// It takes connections, and answers nothing.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// It is gone.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// And there again, at the same place.
    pub(crate) fn restart(&mut self) {
        self.process = serve(self.home.path(), self.plain, self.tls);
        self.await_ready();
    }

    fn await_ready(&mut self) {
        eventually(|| {
            assert!(self.process.try_wait().unwrap().is_none(), "slapd has ended");
            TcpStream::connect(self.plain).is_ok()
        });
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(home: &Path, plain: SocketAddr, tls: SocketAddr) -> Child {
    Command::new(SLAPD)
        .args(["-d", "0", "-f", "slapd.conf", "-h", &format!("ldap://{plain}/ ldaps://{tls}/")])
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// slapd can't be asked for any free port.
fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}
