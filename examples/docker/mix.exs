defmodule Shop.MixProject do
  use Mix.Project

  def project do
    [
      app: :shop,
      version: "1.0.0",
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      deps: [{:erlang_python, path: System.get_env("ERLANG_PYTHON", "../..")}],
      releases: [shop: [steps: [:assemble, &ErlangPython.Release.add/1]]]
    ]
  end

  def application, do: [mod: {Shop.Application, []}, extra_applications: [:logger]]
end
