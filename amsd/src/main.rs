//! `amsd`: the daemon's process. What it does is in the library.

use std::process::ExitCode;

use amsd::cli::{Args, exit_code, sentence};
use amsd::home::{Home, log_file};
use amsd::platform::{self, Background, Detached};
use amsd::{ConfigFile, Start, check, config, logs, passphrase, run};
use anyhow::Context;
use clap::Parser;

fn main() -> ExitCode {
    platform::protect_process();
    let args = Args::parse();
    let mut background = None;
    match start(&args, &mut background) {
        Ok(code) => code,
        Err(why) => {
            let said = sentence(why.chain());
            let exit = exit_code(&*why);
            background.map_or_else(|| eprintln!("amsd: {said}"), |child| child.failed(exit, &said));
            ExitCode::from(exit)
        }
    }
}

fn start(args: &Args, background: &mut Option<Background>) -> anyhow::Result<ExitCode> {
    let socket = platform::inherited_socket().context("the socket from the service manager")?;
    let places = args.places()?;
    let config = ConfigFile { path: places.config.clone(), named: args.config.is_some() };
    let chosen = config::load(&config.path, config.named)?;
    if let Some(done) = passphrase::change(args, &places)? {
        eprintln!("amsd: {done}");
        return Ok(ExitCode::SUCCESS);
    }
    let source = platform::passphrase_file(args.passphrase_file.as_deref());
    let passphrase = passphrase::for_start(&places, source)?;
    if args.check {
        return Ok(check::report(places, passphrase)?);
    }
    if args.daemon {
        platform::check_pid_file(args.pid_file.as_deref(), &places)?;
        let detached = platform::detach(args.pid_file.as_deref(), passphrase.as_ref(), &socket);
        match detached.context("cannot go to the background")? {
            Detached::Parent(Ok(())) => return Ok(ExitCode::SUCCESS),
            Detached::Parent(Err(ended)) => return Err(ended.explained(args, &places).into()),
            Detached::Child(child) => *background = Some(child),
        }
    }
    let log = background.is_some().then(|| log_file(&places));
    let home = Home::open(places)?.with(passphrase);
    logs::start(args.log, args.verbose, log.as_deref()).context("cannot open the log")?;
    let ready = || background.iter_mut().for_each(Background::ready);
    let (listen, public) = ([chosen.listen, args.listen.clone()].concat(), chosen.public);
    let what = Start { home, settings: chosen.settings, listen, public, socket, disk: None };
    let home = run(what, (chosen.sockets, chosen.hooks), config, ready)?;
    // In this order: who waits for the home to be free finds no pid file.
    drop((background.take(), home));
    Ok(ExitCode::SUCCESS)
}
