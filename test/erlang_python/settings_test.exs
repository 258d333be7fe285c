defmodule ErlangPython.SettingsTest do
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.Settings

  test "a setting that does not exist is a warning that says which was meant" do
    log = capture_log(fn -> Settings.warn(pool: [], workers: 4) end)
    assert log =~ "unknown setting of :erlang_python, :pool (did you mean :pools?)"
    assert log =~ "it is an option of a pool, as in pools: [[name: :default, workers: ...]]"
  end

  test "those that exist are none" do
    settings = for key <- [:included_applications | Settings.known()], do: {key, nil}
    assert capture_log(fn -> Settings.warn(settings) end) == ""
  end

  test "values that are none" do
    for {key, value, read} <- [
          {:send_to, ["inbox"], &Settings.send_to!/0},
          {:send_to, :inbox, &Settings.send_to!/0},
          {:max_concurrent, 0, fn -> :py_semaphore.init(nil) end},
          {:max_concurrent, :infinity, fn -> :py_semaphore.init(nil) end}
        ] do
      Application.put_env(:erlang_python, key, value)
      on_exit(fn -> Application.delete_env(:erlang_python, key) end)

      assert_raise ArgumentError,
                   ~r/#{key}: \.\.\. to be a .*got: #{Regex.escape(inspect(value))}/,
                   read

      Application.delete_env(:erlang_python, key)
    end
  end

  test "each setting that the library reads is known" do
    read =
      for file <- Path.wildcard(Path.expand("../../lib/**/*.ex", __DIR__)),
          [_all, key] <-
            Regex.scan(
              ~r/Application\.(?:get|fetch)_env\(:erlang_python, :(\w+)/,
              File.read!(file)
            ),
          uniq: true,
          do: String.to_atom(key)

    assert [_ | _] = read
    assert read -- Settings.known() == []
  end
end
