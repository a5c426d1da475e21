# git archive --prefix=ams-0.1.0/ -o /tmp/ams-0.1.0.tar.gz HEAD && brew install --build-from-source ./packaging/homebrew/ams.rb
class Ams < Formula
  desc "Messenger for the shell: daemon and command line"
  url "file:///tmp/ams-0.1.0.tar.gz"
  version "0.1.0"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build

  def install
    system "cargo", "build", "--locked", "--release", "-p", "amsd", "-p", "amsctl"
    system "packaging/stage", "ams", "target/release", buildpath/"stage"
    share_of = buildpath/"stage/usr/share"
    bin.install Dir["stage/usr/bin/*"]
    man1.install Dir[share_of/"man/man1/*"]
    bash_completion.install share_of/"bash-completion/completions/amsctl"
    zsh_completion.install share_of/"zsh/vendor-completions/_amsctl"
    fish_completion.install share_of/"fish/vendor_completions.d/amsctl.fish"
    doc.install Dir[share_of/"doc/ams/*"]
  end

  service do
    run [opt_bin/"amsd"]
    keep_alive successful_exit: false
    error_log_path var/"log/amsd.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/amsd --version")
    assert_match "not running", shell_output("#{bin}/amsctl --home #{testpath}/a status 2>&1", 11)
  end
end
