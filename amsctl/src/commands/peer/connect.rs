//! `amsctl peer connect`

use ams_rpc::ErrorKind;
use ams_rpc::methods::peer;
use ams_rpc::types::PeerConnectParams;

use crate::confirm;
use crate::failed::Failed;
use crate::render;
use crate::session::Session;
use crate::text::line;

/// Ask whoever answers at an address to be a contact, or connect to a contact now. Who is there has
/// to be vouched for: by a peer link (`amsctl id` on the other side shows it), by its fingerprint,
/// or by a yes on a terminal.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  amsctl peer connect 'ams://bob.example.org:7310/peer#…' --as bob
  amsctl peer connect bob.example.org --fingerprint 5jfg-yy7c-…
  amsctl peer connect 192.0.2.7:7310 --accept-new
  amsctl peer connect bob")]
pub struct Args {
    /// HOST:PORT, or a peer link in quotes. Without a port it is 7310. Or the name of a contact that has
    /// a direct way: it takes back a disconnection, and connects now.
    #[arg(value_name = "HOST:PORT|LINK|NAME")]
    address: String,

    /// The name it shall have here; default: `direct-` and the beginning of its fingerprint.
    #[arg(long = "as", value_name = "NAME")]
    local: Option<String>,

    /// The fingerprint that has to be shown there.
    #[arg(long, value_name = "F")]
    fingerprint: Option<String>,

    /// Take whoever is there, unless a contact was there with another key. The contact stays unverified.
    #[arg(long, conflicts_with = "fingerprint")]
    accept_new: bool,
}

impl Args {
    pub(crate) fn run(self, session: &mut Session) -> Result<u8, Failed> {
        let mut params = PeerConnectParams {
            address: self.address,
            local: self.local,
            fingerprint: self.fingerprint,
            accept_new: self.accept_new.then_some(true),
        };
        match session.show::<peer::Connect>(&params, render::peer) {
            Err(failed) if failed.kind.as_deref() == Some(ErrorKind::KeyUnknown.as_str()) => {
                let Some(offered) = failed.offered.clone() else { return Err(failed) };
                if !is_the_one(&params.address, &offered) {
                    return Err(failed);
                }
                // This one, and no other that may answer by now.
                (params.fingerprint, params.accept_new) = (Some(offered), Some(true));
                session.show::<peer::Connect>(&params, render::peer)
            }
            ended => ended,
        }
    }
}

fn is_the_one(address: &str, fingerprint: &str) -> bool {
    let (address, fingerprint) = (line(address), line(fingerprint));
    confirm::is_yes(&format!(
        "{address} shows the fingerprint\n  {fingerprint}\nIs that who you mean?"
    ))
}
