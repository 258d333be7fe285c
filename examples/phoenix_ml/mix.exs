defmodule PhoenixMl.MixProject do
  use Mix.Project

  # Where Phoenix can't be fetched, a front on Erlang's own HTTP server takes its place (README.md).
  @phoenix? System.get_env("WITHOUT_PHOENIX") in [nil, ""]

  def project do
    [
      app: :phoenix_ml,
      version: "1.0.0",
      elixir: "~> 1.14",
      elixirc_paths: ["lib", if(@phoenix?, do: "web", else: "front")],
      start_permanent: Mix.env() == :prod,
      deps: [
        {:erlang_python, path: System.get_env("ERLANG_PYTHON", "../..")} | phoenix(@phoenix?)
      ]
    ]
  end

  def application, do: [mod: {PhoenixMl.Application, []}, extra_applications: [:logger, :inets]]

  defp phoenix(true), do: [{:phoenix, "~> 1.7.0"}, {:bandit, "~> 1.0"}, {:jason, "~> 1.4"}]
  defp phoenix(false), do: []
end
