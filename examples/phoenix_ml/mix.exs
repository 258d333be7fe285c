defmodule PhoenixMl.MixProject do
  use Mix.Project

  def project do
    [
      app: :phoenix_ml,
      version: "1.0.0",
      elixir: "~> 1.14",
      elixirc_paths: ["lib", if(phoenix?(), do: "web", else: "front")],
      start_permanent: Mix.env() == :prod,
      deps: [
        {:erlang_python, path: System.get_env("ERLANG_PYTHON", "../..")}
        | if(phoenix?(), do: phoenix(), else: [])
      ],
      releases: [phoenix_ml: release()]
    ]
  end

  # The pool stands in the supervision tree, where the step does not look; described as there.
  defp release do
    [
      steps: [:assemble, &ErlangPython.Release.add/1],
      erlang_python: [environments: [{:uv, File.read!("priv/python/pyproject.toml")}]]
    ]
  end

  # The tests' HTTP client reads the defaults for TLS at each request.
  def application do
    [mod: {PhoenixMl.Application, []}, extra_applications: [:logger, :inets, :ssl]]
  end

  # Where Phoenix can't be fetched, a front on Erlang's own HTTP server takes its place (README.md).
  defp phoenix?, do: System.get_env("WITHOUT_PHOENIX") in [nil, ""]
  defp phoenix, do: [{:phoenix, "~> 1.7.0"}, {:bandit, "~> 1.0"}, {:jason, "~> 1.4"}]
end
